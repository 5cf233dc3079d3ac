"""OpenCL devices: processors, graphics cards and FPGA boards."""

from .driver import OpenCLAccelerator

__all__ = ["OpenCLAccelerator"]
