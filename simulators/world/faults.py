"""Faults as data: what goes wrong, how often, from when on; drawn from the world's seed.

At the transport ("refuse", "drop", "pieces", "delay", "double_terminator", "wrong_terminator", "half_line": the rest of
a reply never comes), the protocol ("garble", "wrong_identity", "stuck", "header_on": somebody left reply headers on,
"panel_locked": the panel keeps settings from being changed, "range_refused": a range that the model has is not taken,
"reboot": the instrument starts anew with its settings at their defaults), the measurement ("over_range", "peak_over",
"no_data", "frozen", "gain", "range_edge": auto range hunts at the edge of two ranges and shows nonsense meanwhile,
"spike": one peak fools auto range), the ownership ("locked"; "stolen": somebody takes our ports, "force_refused":
nobody gives theirs up, "licence": it is missing), the network under test ("loss", "link_down" while traffic runs,
"counter_wrap") and the disk under test ("full", "io_error", "corrupt": what is read is not what was written,
"no_direct", "short_io", "shallow": the queue never fills, "overrun": it goes on after its time, "neighbour": somebody
else uses the disk). A program may say more than its results ("chatter"). Those of inference services are told in
`inference/harm.py`, those of training jobs in `training/logfile.py`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aicalib_hw.errors import UsageError

from ..occasions import Occasions

FaultT = TypeVar("FaultT", bound=BaseModel)

Kind = Literal[
    "refuse",
    "drop",
    "pieces",
    "delay",
    "double_terminator",
    "wrong_terminator",
    "half_line",
    "garble",
    "wrong_identity",
    "stuck",
    "header_on",
    "panel_locked",
    "range_refused",
    "reboot",
    "over_range",
    "peak_over",
    "no_data",
    "frozen",
    "gain",
    "range_edge",
    "spike",
    "locked",
    "stolen",
    "force_refused",
    "licence",
    "loss",
    "link_down",
    "counter_wrap",
    "coalesced",
    "split_events",
    "split_characters",
    "crlf",
    "comments",
    "bundled",
    "no_usage",
    "false_usage",
    "early_stop",
    "overrun",
    "http_error",
    "error_event",
    "slow_first",
    "stall",
    "dies",
    "unauthorised",
    "wrong_content_type",
    "counters_frozen",
    "full",
    "io_error",
    "corrupt",
    "no_direct",
    "short_io",
    "shallow",
    "neighbour",
    "chatter",
    "interleaved",
    "repeated",
    "buffered",
    "rotated",
    "truncated",
    "skipped",
    "nan",
    "restart",
    "clock_step",
]


class Fault(BaseModel):
    """One fault. after: occasions that pass unharmed first; count: how often it strikes, None = for ever.

    An occasion is an update of the measurement, a message, a connection: what the kind strikes at. probability: of
    striking at each occasion. amount: real s for "delay", "stuck" and "reboot" (until it answers again), a factor for
    "gain", how far beyond the limit of peaks for "spike" (1 = at twice the limit), the ratio of frames lost for "loss",
    world s after the start of traffic for "link_down", frames (and bytes) until the counters wrap for "counter_wrap",
    bytes until "full", "io_error" or "corrupt", how many for "short_io", world s for "overrun", how much more than we
    somebody else moves for "neighbour".
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    after: int = Field(default=0, ge=0)
    count: int | None = Field(default=1, ge=1)
    probability: float = Field(default=1.0, gt=0, le=1)
    amount: float = Field(default=1.0, gt=0)


class FaultPlan:
    """The faults of one simulated instrument; asked at every occasion whether one strikes."""

    def __init__(self, seed: int) -> None:
        self._occasions: Occasions[Fault] = Occasions(seed)

    def inject(self, fault: Fault | Mapping[str, Any] | str) -> None:
        """Arm a fault: a Fault, its data, or just its kind; raises UsageError for anything else."""
        self._occasions.arm(checked(fault))

    def clear(self) -> None:
        """Disarm every fault."""
        self._occasions.clear()

    def strikes(self, kind: Kind) -> Fault | None:
        """Return the fault of this kind that strikes at this occasion, None if none does."""
        return self._occasions.strikes(kind)


def checked(fault: Fault | Mapping[str, Any] | str) -> Fault:
    """Return a fault as it is, or made of its data, or of just its kind; raises UsageError."""
    return fault_of(Fault, fault)


def fault_of(model: type[FaultT], given: FaultT | Mapping[str, Any] | str) -> FaultT:
    """Return a fault of this model as it is, or made of its data, or of just its kind.

    Raises UsageError naming what was meant.
    """
    if isinstance(given, model):
        return given
    data = {"kind": given} if isinstance(given, str) else given
    try:
        return model.model_validate(data)
    except ValidationError as error:
        said, near = [], []
        kinds = get_args(model.model_fields["kind"].annotation)
        for one in error.errors(include_url=False):
            key = ".".join(str(part) for part in one["loc"])
            known = kinds if key == "kind" else model.model_fields
            word = str(one["input"]) if key == "kind" else key
            what = "there is no such kind" if key == "kind" else one["msg"]
            said.append(f"{key} = {one['input']!r}: {what}")
            near += difflib.get_close_matches(word, [one for one in known if one != word], n=1, cutoff=0.5)
        raise UsageError(
            f"{given!r} is no fault that can be injected",
            why="; ".join(said),
            advice=f"did you mean {near[0]!r}?" if near else f"kinds: {', '.join(kinds)}",
        ) from error
