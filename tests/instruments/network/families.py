"""The families of traffic testers that have a simulator: what differs between them for a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Family:
    """One family: its name, its two ports as the driver knows them and as the simulated world does."""

    name: str
    ports: tuple[str, str]
    in_truth: tuple[str, str]

    def options(
        self, *, port: Mapping[str, Any] | None = None, path: Mapping[str, Any] | None = None, held_by: str = ""
    ) -> dict[str, Any]:
        """Return the simulator's options for ports of a kind, a path between them, and an owner they have already."""
        found: dict[str, Any] = {"path": dict(path or {})}
        if self.name == "otg":
            found["port"] = {"name": "any", **(port or {})}
            found["in_use"] = dict.fromkeys(self.in_truth, held_by) if held_by else {}
        else:
            names: list[dict[str, Any]] = [{"name": name} if self.name == "xena" else {} for name in self.in_truth]
            found["ports"] = [{**name, **(port or {})} for name in names]
            found["held_by"] = held_by
        return found

    def address(self, simulator: Any) -> str:
        """Return the address for a driver; a simulated TRex has its counters up to date when it is asked."""
        return f"{simulator.address}&refresh=0.05" if self.name == "trex" else str(simulator.address)

    def network(self, simulator: Any) -> Any:
        """Return the simulated ports behind a tester, which know the truth."""
        return simulator.chassis.network if self.name == "xena" else simulator.network


FAMILIES = (
    Family("xena", ("0/0", "0/1"), ("0/0", "0/1")),
    Family("otg", ("p1", "p2"), ("sim;1;1", "sim;1;2")),
    Family("trex", ("0", "1"), ("0", "1")),
)
