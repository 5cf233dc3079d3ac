"""Which loads can be applied to a service, and how one is shared among client processes."""

from __future__ import annotations

import math

from aicalib_hw.errors import OutOfRange
from aicalib_hw.interfaces import InferenceLoad


def require_measurable(load: InferenceLoad) -> None:
    """Raise OutOfRange for a load that cannot be applied as it stands; nothing has been sent."""
    rate = load.request_rate
    allowed = {
        f"input_tokens {load.input_tokens}: 1 to 10 million": 1 <= load.input_tokens <= 10_000_000,
        f"output_tokens {load.output_tokens}: 1 to 10 million": 1 <= load.output_tokens <= 10_000_000,
        f"arrival {load.arrival!r}: closed, poisson or constant": load.arrival in ("closed", "poisson", "constant"),
        f"concurrency {load.concurrency}: 1 to 100 000": 1 <= load.concurrency <= 100_000,
        f"request_rate {rate}: above 0 with poisson or constant arrivals, None in a closed loop": (
            rate is None if load.arrival == "closed" else rate is not None and 0 < rate < math.inf
        ),
        f"warm_up {load.warm_up} s: 0 to a day": 0 <= load.warm_up <= 86_400,
        f"duration {load.duration} s: above 0, to a day": 0 < load.duration <= 86_400,
        f"processes {load.processes}: 1 to 1024, and in a closed loop no more than concurrency": (
            1 <= load.processes <= (min(1024, load.concurrency) if load.arrival == "closed" else 1024)
        ),
        f"headroom {load.headroom}: 1 to 100": 1 <= load.headroom <= 100,
        f"failure_rate {load.failure_rate}: 0 to 1": 0 <= load.failure_rate <= 1,
        f"parameters {load.parameters}: 1 or more": load.parameters is None or load.parameters >= 1,
    }
    for what, right in allowed.items():
        if not right:
            raise OutOfRange(f"this load cannot be applied: {what}")


def split(whole: int, parts: int) -> list[int]:
    """Return `whole` in so many parts, none larger than another by more than one."""
    return [whole // parts + (number < whole % parts) for number in range(parts)]
