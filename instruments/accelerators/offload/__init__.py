"""What all devices share that compute beside the host: launches timed by the device, evaluated by one set of rules."""

from .driver import OffloadAccelerator
from .load import OffloadLoad
from .multiplying import EDGE, MultiplyingAccelerator
from .operands import CHAINS
from .results import Circumstances, evaluate
from .run import Launch, PreparedKernel, Work, measure
from .watch import Observation, Watch

__all__ = [
    "CHAINS",
    "EDGE",
    "Circumstances",
    "Launch",
    "MultiplyingAccelerator",
    "Observation",
    "OffloadAccelerator",
    "OffloadLoad",
    "PreparedKernel",
    "Watch",
    "Work",
    "evaluate",
    "measure",
]
