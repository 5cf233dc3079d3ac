"""`make benchmark`: what the project measures, beside what others measure on the same machine in the same minute.

Every part runs, whatever the one before it came to; the exit status is 1 if any bar was not met or any part failed.
"""

from __future__ import annotations

import traceback

from . import compute, inference, network, nvml, opencl, operations_per_cycle, power_meter, simulated


def main() -> int:
    """Run every part; say at the end which did not meet its bars."""
    failed = []
    for part in (operations_per_cycle, compute, opencl, nvml, power_meter, network, inference, simulated):
        try:
            met = part.main() == 0
        except Exception:  # noqa: BLE001 - the other parts are measured all the same
            traceback.print_exc()
            met = False
        if not met:
            failed.append(part.__name__.rpartition(".")[2])
    if failed:
        print(f"\nnot met, or not measured: {', '.join(failed)}", flush=True)
    return 1 if failed else 0


raise SystemExit(main())
