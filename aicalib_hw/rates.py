"""Rates of Ethernet traffic between layers: pure arithmetic, no instrument.

At 100 % load the rate of layer 1 is the line rate, and that of layer 2 is smaller by the frame's share:
by 23.8 % at 64 bytes and 1.30 % at 1518 bytes. A rate in bit/s therefore always names its layer:

| layer | counts, for each frame |
| --- | --- |
| L1 | frame with FCS, preamble and gap before it |
| L2-fcs | destination address to frame check sequence |
| L2-nofcs | the same without the 4 bytes of the FCS (Linux interface counters) |
| L4 | what the transport carries: no header, no tag, no FCS |

Frame sizes are in bytes with FCS, as RFC 2544 section 9 counts them. Sources: IEEE 802.3 clause 3 (frame),
clause 4.4.2 (preamble, gap); RFC 2544 section 9; RFC 6349 (TCP payload).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from aicalib_hw.errors import OutOfRange, UsageError
from aicalib_hw.interfaces.network_tester import Layer

FCS = 4
"""Bytes of the frame check sequence."""

ETHERNET = 14 + FCS
"""Bytes of an untagged Ethernet frame that are not its content."""

TAG = 4
"""Bytes of one VLAN tag (IEEE 802.1Q)."""

STANDARD_GAP = 8 + 12
"""Bytes of line time a frame takes beside itself: preamble with start delimiter, and least inter-packet gap."""

IPV4_UDP = 20 + 8
"""Bytes of IPv4 and UDP headers without options."""

IPV4_TCP = 20 + 32
"""Bytes of IPv4 and TCP headers with the time-stamp option (RFC 7323), as Linux sends them."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What one frame takes on each layer, in bytes.

    size: with FCS; the mean size where sizes are mixed. tags: VLAN tags in it. headers: bytes of the headers
    between Ethernet and what the transport carries (`IPV4_TCP`, …), None = not known, so that there is no L4.
    gap: preamble and gap as the tester has set them; 20 by the standard.
    Raises OutOfRange for a frame that has no room for its headers.
    """

    size: float
    tags: int = 0
    headers: int | None = None
    gap: float = STANDARD_GAP

    def __post_init__(self) -> None:
        least = ETHERNET + TAG * self.tags + (self.headers or 0)
        if not (math.isfinite(self.size) and self.size > least):
            raise OutOfRange(
                f"a frame of {self.size:g} bytes is too short", why=f"its headers and FCS take {least} bytes"
            )
        if not (math.isfinite(self.gap) and self.gap > 0):
            raise OutOfRange(
                f"a gap of {self.gap:g} bytes is none", why="preamble and gap take 20 bytes by the standard"
            )

    def bits(self, layer: Layer) -> float:
        """Return the bits of one frame that `layer` counts; raises UsageError for L4 without known headers."""
        if layer == "L1":
            return 8 * (self.size + self.gap)
        if layer == "L2-fcs":
            return 8 * self.size
        if layer == "L2-nofcs":
            return 8 * (self.size - FCS)
        if layer == "L4":
            if self.headers is None:
                raise UsageError(
                    "what the transport carries in a frame is not known",
                    advice="say how many bytes its headers take: Frame(size, headers=IPV4_TCP)",
                )
            return 8 * (self.size - ETHERNET - TAG * self.tags - self.headers)
        raise UsageError(f"unknown layer {layer!r}", advice="L1, L2-fcs, L2-nofcs or L4")


def convert(rate: float, layer: Layer, to: Layer, frame: Frame) -> float:
    """Return the rate of the same frames at another layer, bit/s."""
    return rate * frame.bits(to) / frame.bits(layer)


def frames_per_second(rate: float, layer: Layer, frame: Frame) -> float:
    """Return how many frames a second make a rate of `rate` bit/s at `layer`, 1/s."""
    return rate / frame.bits(layer)


def most_frames_per_second(line_rate: float, frame: Frame) -> float:
    """Return the frames a second that fill a line of `line_rate` bit/s, 1/s."""
    return frames_per_second(line_rate, "L1", frame)


def line_share(rate: float, layer: Layer, line_rate: float, frame: Frame) -> float:
    """Return the share of the line, 0…1, that a rate of `rate` bit/s at `layer` takes."""
    return convert(rate, layer, "L1", frame) / line_rate


def mean_size(frames: int, octets: int, *, fcs_counted: bool) -> float:
    """Return the mean size with FCS, bytes, of counted frames and bytes; raises OutOfRange where nothing was counted.

    fcs_counted: whether the counter of bytes holds the FCS; testers' do, those of Linux interfaces do not.
    """
    if frames <= 0:
        raise OutOfRange(f"{frames} frames have no mean size")
    return octets / frames + (0 if fcs_counted else FCS)


def counted_rate(
    frames: int,
    octets: int,
    seconds: float,
    *,
    fcs_counted: bool,
    to: Layer,
    tags: int = 0,
    headers: int | None = None,
    gap: float = STANDARD_GAP,
) -> float:
    """Return the rate in bit/s at layer `to` of frames and bytes counted in `seconds` s; 0.0 for no frame.

    fcs_counted: as for `mean_size`; tags, headers, gap: as for `Frame`. Raises OutOfRange for a time of nothing.
    """
    if not seconds > 0:
        raise OutOfRange(f"a gate of {seconds:g} s is none")
    if frames == 0 and octets == 0:
        return 0.0
    frame = Frame(mean_size(frames, octets, fcs_counted=fcs_counted), tags=tags, headers=headers, gap=gap)
    return frames * frame.bits(to) / seconds
