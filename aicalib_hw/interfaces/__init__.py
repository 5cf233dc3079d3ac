"""The contract: six roles, one grammar. Drivers implement these, procedures know nothing else."""

from aicalib_hw.interfaces.accelerator import (
    Accelerator,
    AcceleratorCapabilities,
    LoadRun,
    Peak,
    PeakMeasurement,
    PrecisionSupport,
    Ready,
    TelemetryReading,
    ThrottleState,
)
from aicalib_hw.interfaces.inference_service import (
    InferenceLoad,
    InferenceService,
    InferenceServiceCapabilities,
    ServiceCounters,
)
from aicalib_hw.interfaces.instrument import (
    Capabilities,
    DriverInfo,
    Instrument,
    Progress,
    ReleaseReport,
    Setting,
)
from aicalib_hw.interfaces.network_tester import (
    Counters,
    EffectiveConfig,
    Gate,
    Latency,
    NetworkTester,
    NetworkTesterCapabilities,
    PortCounters,
    PortInfo,
    Rate,
    Reservation,
    Stream,
)
from aicalib_hw.interfaces.power_meter import (
    ElementReading,
    PowerMeter,
    PowerMeterCapabilities,
    PowerReading,
    PowerSettings,
)
from aicalib_hw.interfaces.storage_tester import StorageJob, StorageTester, StorageTesterCapabilities
from aicalib_hw.interfaces.training_job import (
    StepRate,
    TrainingJob,
    TrainingJobCapabilities,
    TrainingPlan,
)

ROLES: dict[str, type] = {
    "power_meter": PowerMeter,
    "network_tester": NetworkTester,
    "accelerator": Accelerator,
    "storage_tester": StorageTester,
    "inference_service": InferenceService,
    "training_job": TrainingJob,
}
"""Role name, as bench files and `DriverInfo.role` write it, to its interface."""

__all__ = [
    "ROLES",
    "Accelerator",
    "AcceleratorCapabilities",
    "Capabilities",
    "Counters",
    "DriverInfo",
    "EffectiveConfig",
    "ElementReading",
    "Gate",
    "InferenceLoad",
    "InferenceService",
    "InferenceServiceCapabilities",
    "Instrument",
    "Latency",
    "LoadRun",
    "NetworkTester",
    "NetworkTesterCapabilities",
    "Peak",
    "PeakMeasurement",
    "PortCounters",
    "PortInfo",
    "PowerMeter",
    "PowerMeterCapabilities",
    "PowerReading",
    "PowerSettings",
    "PrecisionSupport",
    "Progress",
    "Rate",
    "Ready",
    "ReleaseReport",
    "Reservation",
    "ServiceCounters",
    "Setting",
    "StepRate",
    "StorageJob",
    "StorageTester",
    "StorageTesterCapabilities",
    "Stream",
    "TelemetryReading",
    "ThrottleState",
    "TrainingJob",
    "TrainingJobCapabilities",
    "TrainingPlan",
]
