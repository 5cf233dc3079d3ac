"""NVIDIA graphics processors: telemetry through NVML, rates through the CUDA driver."""

from .driver import NvidiaAccelerator

__all__ = ["NvidiaAccelerator"]
