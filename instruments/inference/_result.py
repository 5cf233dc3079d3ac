"""A load that was seen, made into a Measurement: whole, or of what came until it broke off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from aicalib_hw.errors import Aborted, AicalibError
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces import InferenceLoad
from aicalib_hw.readings import Instant, Measurement, Run, Validity, ValidityStatus, Window

from ._address import Served
from ._crew import Seen
from ._evaluation import Evaluated, partial_rate
from ._manner import Manner
from ._proof import Proof

_PROMPT_LENGTH = 0.01
"""Share by which the length of a prompt may be another than was asked for."""


@dataclass(frozen=True, slots=True)
class Told:
    """All that a measurement tells besides what came. clean: takes the key out of a text. notes: for its reader.

    same_host: whether the client shares the processors of the service. later: the proof for more than was expected.
    """

    identity: Identity
    place: Served
    manner: Manner
    load: InferenceLoad
    proof: Proof
    clean: Callable[[str], str]
    notes: Sequence[str]
    same_host: bool
    later: Proof | None = None

    @property
    def definition(self) -> str:
        """What is counted of this service under this load, and in which window: the same for every run of it."""
        usage = self.manner.streamed_usage if self.load.streaming else self.manner.usage
        kind = "completed" if not self.load.streaming else "steady" if self.load.arrival == "closed" else "offered"
        return f"token/output/{'usage' if usage else 'length'}-counted/{kind}-window"

    def measurement(self, seen: Seen, found: Evaluated, objections: Sequence[str], counters: Any) -> Measurement:
        """Return a load that came to its end; `objections` besides those of the evaluation make it invalid."""
        objecting, remarks = [*found.objections, *objections], [*found.remarks, *self._remarks()]
        self._judge_prompts(found, objecting, remarks)
        window = Window(
            Instant.at_monotonic(found.start),
            Instant.at_monotonic(found.stop),
            f"{self.load.duration:g} s from one arrival to another, every slot warm",
        )
        reasons = tuple(self.clean(one) for one in objecting)
        status = ValidityStatus.INVALID if reasons else ValidityStatus.VALID
        return self._measurement(
            found.rate,
            Run(found.rate, window, used=not reasons, reasons=reasons),
            Validity(status, reasons),
            {**found.evidence, **self._facts(seen), "engine_counters": counters, "remarks": remarks},
            found,
        )

    def given_up(self, seen: Seen, begin: int, start: int, error: AicalibError) -> Measurement:
        """Return what was seen of a load that this side gave up, because of `error` (Aborted: somebody wanted so)."""
        aborted = isinstance(error, Aborted)
        status = ValidityStatus.ABORTED if aborted else ValidityStatus.ERROR
        return self.broken(seen, begin, start, f"{error.what}; {seen.gone}", status)

    def broken(
        self, seen: Seen, begin: int, start: int, why: str, status: ValidityStatus = ValidityStatus.ERROR
    ) -> Measurement:
        """Return what was seen of a load that broke off: events, not tokens, as unfinished answers state no usage."""
        rate, first, last = partial_rate(seen, start if (seen.times >= start).sum() > 1 else begin)
        window = Window(Instant.at_monotonic(first), Instant.at_monotonic(last), "until the load broke off")
        complete = [one for one in seen.requests if one.complete]
        told = [one for one in complete if one.output_tokens is not None and one.events]
        events, tokens = sum(one.events for one in told), sum(one.output_tokens or 0 for one in told)
        reason = self.clean(f"the load broke off: {why}")
        evidence = {
            **self._facts(seen),
            "partial_event_rate": rate,
            # an event of an unfinished answer taken for as many tokens as one of the finished ones had
            "partial_token_rate": rate * tokens / events if rate is not None and events else None,
            "events": len(seen.times),
            "requests_complete": len(complete),
            "output_tokens_by_usage": sum(one.output_tokens or 0 for one in complete),
            "failures": list(dict.fromkeys(self.clean(one.failure) for one in seen.requests if one.failure))[:10],
            "remarks": self._remarks(),
        }
        run = Run(None, window, used=False, reasons=(reason,), evidence={"event_rate": rate})
        return self._measurement(None, run, Validity(status, (reason,)), evidence, None)

    def _measurement(
        self, value: float | None, run: Run, validity: Validity, evidence: dict[str, Any], found: Evaluated | None
    ) -> Measurement:
        return Measurement(
            quantity="inference",
            definition=self.definition,
            value=value,
            unit="token/s",
            window=run.window,
            identity=self.identity,
            runs=(run,),
            components=() if found is None else found.components,
            settings={**asdict(self.load), "model": self.manner.model, "endpoint": self.place.endpoint},
            evidence=evidence,
            validity=validity,
        )

    def _remarks(self) -> list[str]:
        remarks = [self.clean(note) for note in self.notes if note]
        if self.same_host:
            remarks.append(
                "client and service share this host's processors: this is no calibration of the service alone"
            )
        if not self.manner.prompts.exact:
            remarks.append(f"prompts of exactly {self.load.input_tokens} tokens could not be made of words")
        return remarks

    def _facts(self, seen: Seen) -> dict[str, Any]:
        manner = self.manner
        return {
            "client_on_same_host": self.same_host,
            "client": {
                "processes": len(seen.efforts),
                "cpu_per_event_s": seen.cpu_per_event,
                "cpu_receiving_s": sum(one.seconds_receiving for one in seen.efforts),
                "cpu_decoding_s": sum(one.seconds_decoding for one in seen.efforts),
                "bytes": sum(one.bytes for one in seen.efforts),
                "reads": sum(one.reads for one in seen.efforts),
            },
            "proof": self.proof.plain,
            **({} if self.later is None else {"proof_afterwards": self.later.plain}),
            "manner": {
                "fields": dict(manner.fields),
                "length_fixed": manner.fixed,
                "usage": manner.usage,
                "usage_in_streams": manner.streamed_usage,
                "prompt_words": len(manner.prompts.words),
                "prompt_tokens": manner.prompts.tokens,
            },
        }

    def _judge_prompts(self, found: Evaluated, objections: list[str], remarks: list[str]) -> None:
        span, wanted = found.evidence.get("prompt_tokens") or {}, self.load.input_tokens
        if span.get("least") is None:
            return
        least, most = span["least"], span["most"]
        text = f"prompts had {least} to {most} tokens by usage, and {wanted} were asked for"
        if max(abs(least - wanted), abs(most - wanted)) > _PROMPT_LENGTH * wanted:
            objections.append(text)
        elif (least, most) != (wanted, wanted):
            remarks.append(text)
