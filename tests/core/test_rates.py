"""Rates between layers, against tables computed from the standards' definitions in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicalib_hw import rates
from aicalib_hw.errors import OutOfRange, UsageError
from aicalib_hw.interfaces.network_tester import Layer
from aicalib_hw.rates import Frame

# Frame size → (share of layer 2 in layer 1, frames/s at 100, 400 and 800 Gbit/s, L2 rate at the same in Gbit/s).
GOLDEN = {
    64: (0.761905, (148809523.8, 595238095.2, 1190476190.5), (76.1905, 304.7619, 609.5238)),
    128: (0.864865, (84459459.5, 337837837.8, 675675675.7), (86.4865, 345.9459, 691.8919)),
    256: (0.927536, (45289855.1, 181159420.3, 362318840.6), (92.7536, 371.0145, 742.0290)),
    512: (0.962406, (23496240.6, 93984962.4, 187969924.8), (96.2406, 384.9624, 769.9248)),
    1024: (0.980843, (11973180.1, 47892720.3, 95785440.6), (98.0843, 392.3372, 784.6743)),
    1280: (0.984615, (9615384.6, 38461538.5, 76923076.9), (98.4615, 393.8462, 787.6923)),
    1518: (0.986996, (8127438.2, 32509752.9, 65019505.9), (98.6996, 394.7984, 789.5969)),
    9018: (0.997787, (1383049.3, 5532197.4, 11064394.8), (99.7787, 399.1148, 798.2297)),
}
LINES = (100e9, 400e9, 800e9)
SIZES = (64, 65, 128, 512, 1518, 1522, 9018, 9600, 16000)


@pytest.mark.parametrize("size", GOLDEN)
def test_full_line_rate_is_what_published_tables_say(size: int) -> None:
    share, frames, layer_2 = GOLDEN[size]
    frame = Frame(size)
    for line, expected_frames, expected_rate in zip(LINES, frames, layer_2, strict=True):
        assert rates.most_frames_per_second(line, frame) == pytest.approx(expected_frames, abs=0.051)
        assert rates.convert(line, "L1", "L2-fcs", frame) / 1e9 == pytest.approx(expected_rate, abs=5.1e-5)
        assert rates.convert(line, "L1", "L2-fcs", frame) / line == pytest.approx(share, abs=5.1e-7)


@pytest.mark.parametrize("line", [1_000_000_000, 10_000_000_000, 100_000_000_000, 400_000_000_000, 800_000_000_000])
@pytest.mark.parametrize("size", SIZES)
def test_every_layer_agrees_with_exact_fractions(line: int, size: int) -> None:
    per_second = Fraction(line, 8 * (size + 8 + 12))
    frame = Frame(size, headers=20 + 8)
    assert rates.most_frames_per_second(line, frame) == pytest.approx(float(per_second), rel=1e-14)
    exact = {"L1": line, "L2-fcs": per_second * 8 * size, "L2-nofcs": per_second * 8 * (size - 4)}
    exact["L4"] = per_second * 8 * (size - 14 - 4 - 28)
    for layer, value in exact.items():
        assert rates.convert(float(line), "L1", layer, frame) == pytest.approx(float(value), rel=1e-14)  # type: ignore[arg-type]


def test_tcp_with_time_stamps_carries_1448_bytes_in_a_frame_of_1514_without_fcs() -> None:
    frame = Frame(1518, headers=rates.IPV4_TCP)
    assert frame.bits("L2-nofcs") == 8 * 1514
    assert frame.bits("L4") == 8 * 1448


def test_each_vlan_tag_takes_four_bytes_from_what_is_carried() -> None:
    plain, tagged = (Frame(1522, tags=tags, headers=rates.IPV4_UDP) for tags in (0, 1))
    assert plain.bits("L4") - tagged.bits("L4") == 32
    assert plain.bits("L1") == tagged.bits("L1")


def test_a_shorter_gap_than_the_standards_raises_the_share_of_the_frame() -> None:
    assert rates.line_share(76.1904761904762e9, "L2-fcs", 100e9, Frame(64)) == pytest.approx(1.0)
    assert rates.convert(100e9, "L1", "L2-fcs", Frame(64, gap=16)) == pytest.approx(80e9)


@given(
    st.sampled_from(["L1", "L2-fcs", "L2-nofcs", "L4"]),
    st.sampled_from(["L1", "L2-fcs", "L2-nofcs", "L4"]),
    st.integers(80, 16000),
    st.floats(1.0, 1e13),
)
def test_there_and_back_is_the_same_rate(there: Layer, back: Layer, size: int, rate: float) -> None:
    frame = Frame(size, headers=rates.IPV4_TCP)
    assert rates.convert(rates.convert(rate, there, back, frame), back, there, frame) == pytest.approx(rate, rel=1e-12)


@given(st.lists(st.sampled_from([64, 594, 1518]), min_size=1, max_size=50), st.floats(1e-3, 1e3))
def test_mixed_sizes_are_counted_as_their_sum(sizes: list[int], seconds: float) -> None:
    frames, octets = len(sizes), sum(sizes)
    exact = sum(8 * (size + 20) for size in sizes) / seconds
    with_fcs = rates.counted_rate(frames, octets, seconds, fcs_counted=True, to="L1")
    without = rates.counted_rate(frames, octets - 4 * frames, seconds, fcs_counted=False, to="L1")
    assert with_fcs == pytest.approx(exact)
    assert without == pytest.approx(exact)


def test_no_frame_in_a_gate_is_a_rate_of_zero_and_no_gate_is_an_error() -> None:
    assert rates.counted_rate(0, 0, 1.0, fcs_counted=True, to="L2-fcs") == 0.0
    with pytest.raises(OutOfRange):
        rates.counted_rate(1, 64, 0.0, fcs_counted=True, to="L2-fcs")
    with pytest.raises(OutOfRange):
        rates.mean_size(0, 0, fcs_counted=True)


@pytest.mark.parametrize("size", [18, 0, -1, float("nan"), float("inf")])
def test_a_frame_without_room_for_itself_is_refused(size: float) -> None:
    with pytest.raises(OutOfRange):
        Frame(size)


def test_a_payload_rate_needs_to_know_the_headers() -> None:
    with pytest.raises(UsageError, match="headers"):
        rates.convert(1e9, "L1", "L4", Frame(1518))
