"""The table of what each traffic tester's driver offers, made from what the drivers declare.

`python docs/_extensions/network_testers.py` writes it into docs/reference/network-testers.md; a test compares the two.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from aicalib_hw import registry

PAGE = Path(__file__).parents[1] / "reference" / "network-testers.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->"
HEAD = ("driver", "testers", "address", "wires", "counts", "frames, B", "gate", "latency", "owners", "ran on")

NOT_SUPPORTED = {
    "VIAVI ONT, MTS-5800, ONA": "not in this version: their results have names that only their manuals tell",
    "Spirent TestCenter": "not in this version",
    "Anritsu MT1000A, MT1040A": "not in this version: no Ethernet command of theirs is confirmed",
    "EXFO FTB, LTB": "not in this version: no Ethernet command of theirs is confirmed",
    "Keysight IxNetwork": "not by its own interface: through a controller that speaks the Open Traffic Generator model",
    "RDMA perftest (`ib_write_bw`)": "not in this version",
}

_GATES = {"seconds": "seconds", "packets": "frames"}


def table() -> str:
    """Return the table as Markdown, one row a driver, then what is not supported."""
    kinds = [kind for kind in registry.drivers().values() if kind.DRIVER.role == "network_tester"]
    lines = [HEAD, tuple("---" for _ in HEAD)]
    lines += [row(kind) for kind in sorted(kinds, key=lambda kind: str(kind.DRIVER.name))]
    blank = ("",) * (len(HEAD) - 2)
    lines += [(maker, why, *blank) for maker, why in NOT_SUPPORTED.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def row(kind: Any) -> tuple[str, ...]:
    """Return the cells of one driver's row."""
    info = kind.DRIVER
    can = kind(f"{info.schemes[0]}://192.0.2.1").capabilities
    sizes = f"{can.min_frame_size} to {can.max_frame_size}" if can.min_frame_size else "as the path makes them"
    counted = {None: "", True: "", False: " without FCS"}[can.counters_include_fcs]
    counts = "layer 4" if can.native_layer == "L4" else f"frames{counted}" + ("; loss" if can.loss else "")
    return (
        f"`{info.name}`",
        info.summary,
        ", ".join(f"`{scheme}://`" for scheme in info.schemes),
        ", ".join(info.wires),
        counts,
        sizes,
        " or ".join(_GATES[gate] for gate in can.gates),
        ", ".join(can.latency_modes or ()) or "–",
        can.notes.get("owner", "ports are reserved") if can.ownership else "–",
        info.verified,
    )


def with_table(text: str) -> str:
    """Return the page's text with the present table between its marks."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"written: {PAGE}\n")
