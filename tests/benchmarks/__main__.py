"""`make benchmark`: what the project measures, beside what others measure on the same machine in the same minute."""

from __future__ import annotations

from . import compute, nvml, opencl, power_meter

raise SystemExit(max(compute.main(), opencl.main(), nvml.main(), power_meter.main()))
