"""However a log is written, piece by piece, its lines are what it holds; each counts once its end is there."""

from __future__ import annotations

import tempfile
from pathlib import Path

from aicalib_hw.instruments.training._lines import FileLines
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text(st.characters(blacklist_characters="\n", blacklist_categories=["Cs"]), max_size=20)


@given(st.lists(TEXT, max_size=12), st.data())
def test_the_lines_of_a_file_do_not_depend_on_the_pieces_in_which_it_was_written(
    texts: list[str], data: st.DataObject
) -> None:
    whole = "".join(f"{text}\n" for text in texts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.touch()
        lines = FileLines(path, history=True)
        lines.resume()
        found: list[str] = []
        with open(path, "ab", buffering=0) as log:
            for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
                log.write(whole[begin:end])
                found += [line.text for line in lines.poll()]
        lines.close()
    assert found == texts


@given(st.lists(TEXT, min_size=1, max_size=6), st.integers(0, 40))
def test_who_begins_at_the_end_sees_no_line_that_had_begun_before(texts: list[str], cut: int) -> None:
    whole = "".join(f"{text}\n" for text in texts).encode()
    before, after = whole[:cut], whole[cut:]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.write_bytes(before)
        lines = FileLines(path, history=False)
        lines.resume()
        assert list(lines.poll()) == []
        with open(path, "ab") as log:
            log.write(after)
        found = [line.text for line in lines.poll()]
        lines.close()
    complete = before.count(b"\n") + (1 if before and not before.endswith(b"\n") else 0)
    assert found == texts[complete:]
