"""Which instruments of a bench the quantities that were asked for need: no other is opened, reserved or loaded."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aicalib_hw.bench import BenchFile

ROLE_OF = {
    "compute": "accelerator",
    "power": "power_meter",
    "network": "network_tester",
    "storage": "storage_tester",
    "inference": "inference_service",
    "training": "training_job",
}
"""The role without which a quantity cannot be measured."""

WORKLOADS = ("training_job", "inference_service")
"""The roles of which effective compute needs one, beside an accelerator."""

_DRAW_POWER = ("accelerator", *WORKLOADS)


def with_needed(settings: BenchFile, quantities: Collection[str], *, simulate: bool) -> BenchFile:
    """Return the bench with those instruments alone that these quantities need, as it is if one has nothing here.

    Power needs what loads the platform beside its meters, and of a simulated platform all that draws power there:
    it is on the mains whether it is measured or not. simulate: whatever has a simulator will be simulated.
    """
    from aicalib_hw import registry  # other verbs need no drivers, and looking for them costs their start

    kinds = registry.drivers_named(entry.driver for entry in settings.instruments.values())
    roles = {name: str(kinds[entry.driver].DRIVER.role) for name, entry in settings.instruments.items()}
    wanted = {ROLE_OF[quantity] for quantity in quantities if quantity in ROLE_OF}
    if not wanted <= set(roles.values()):
        return settings
    if "effective_compute" in quantities:
        wanted |= {*_DRAW_POWER}
    source = settings.load.source if settings.load is not None else None
    kept = {}
    for name, entry in settings.instruments.items():
        on_the_mains = entry.is_simulated(simulate=simulate)
        loads = name == source or (source is None and roles[name] == "accelerator")
        for_power = "power" in quantities and (loads or (on_the_mains and roles[name] in _DRAW_POWER))
        if roles[name] in wanted or for_power:
            kept[name] = entry
    load = settings.load
    if load is not None and load.is_of_an_instrument and source not in kept:
        load = None
    return settings.model_copy(update={"instruments": kept, "load": load})
