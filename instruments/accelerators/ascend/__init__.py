"""Huawei Ascend processors: telemetry through DCMI, rates through AscendCL."""

from .driver import AscendAccelerator

__all__ = ["AscendAccelerator"]
