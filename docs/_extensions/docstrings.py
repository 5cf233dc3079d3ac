"""Sphinx extension: shows docstrings as they are written here.

The docstrings of this project are plain text: code between single backticks, and paragraphs of
"name: what it is" that continue on indented lines. Sphinx reads reStructuredText, in which both mean
something else; this turns one into the other. It also makes signatures of data classes readable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from sphinx.application import Sphinx

_CODE = re.compile(r"``[^`]+``|`[^`]+`")
_SPECIAL = re.compile(r"([\\*|])|(?<=\w)(_)(?!\w)")
_NAMED = re.compile(r"[\w*]+(?:, [\w*]+)*: ")


def escaped(line: str) -> str:
    """Return a line of prose with code as literals, and nothing else that reStructuredText would take for markup."""
    parts, end = [], 0
    for match in _CODE.finditer(line):
        parts.append(_SPECIAL.sub(r"\\\g<0>", line[end : match.start()]))
        parts.append(f"``{match[0].strip('`')}``")
        end = match.end()
    return "".join([*parts, _SPECIAL.sub(r"\\\g<0>", line[end:])])


def paragraph(lines: list[str]) -> Iterator[str]:
    """Yield one paragraph: a literal block if all of it is indented, a list if it is one of names, else prose."""
    if all(line.startswith(" ") for line in lines):
        yield from ("::", "", *(f"    {line}" for line in lines))
    elif _NAMED.match(lines[0]):
        for line in lines:
            begins = _NAMED.match(line)
            yield f"- {escaped(line)}" if begins else f"  {escaped(line.strip())}"
    else:
        yield " ".join(escaped(line.strip()) for line in lines)


def converted(lines: list[str]) -> list[str]:
    """Return a docstring in reStructuredText."""
    result: list[str] = []
    for blank, group in groupby(lines, key=lambda line: not line.strip()):
        if not blank:
            result += [*paragraph(list(group)), ""]
    return result


def _process(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    lines[:] = converted(lines)


def _process_signature(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Write defaults that are no Python expressions as ones, so that the types of a signature can be linked."""
    if signature is not None:
        signature = re.sub(r"<(\w+\.\w+): [^>]*>", r"\1", signature.replace("<factory>", "..."))
    return signature, returned


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-process-signature", _process_signature)
    return {"parallel_read_safe": True}
