"""One module a calibrated quantity; each exports one `calibrate_<quantity>`, which knows interfaces only."""

from aicalib_hw.procedures.compute import calibrate_compute
from aicalib_hw.procedures.effective_compute import calibrate_effective_compute
from aicalib_hw.procedures.inference import calibrate_inference
from aicalib_hw.procedures.network import calibrate_network
from aicalib_hw.procedures.power import calibrate_power
from aicalib_hw.procedures.storage import calibrate_storage
from aicalib_hw.procedures.training import calibrate_training

__all__ = [
    "calibrate_compute",
    "calibrate_effective_compute",
    "calibrate_inference",
    "calibrate_network",
    "calibrate_power",
    "calibrate_storage",
    "calibrate_training",
]
