"""Sphinx extension: pages of the repository that are shown by an include have links that lead on from here.

The README of a folder beside the core is written to be read where it lies. Shown in the documentation, its
links to pages of the documentation are made to lead there, and those to files of the repository become plain text.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s:]+)\)")


def _redirect(app: Sphinx, relative_path: Path, parent: str, content: list[str]) -> None:
    source = Path(app.srcdir).resolve()
    home = (source / relative_path).resolve().parent
    here = (source / parent).parent

    def redirected(link: re.Match[str]) -> str:
        text, (path, mark, anchor) = link[1], link[2].partition("#")
        target = (home / path).resolve()
        if target.suffix != ".md" or not target.is_relative_to(source):
            return text
        return f"[{text}]({os.path.relpath(target, here)}{mark}{anchor})"

    content[0] = _LINK.sub(redirected, content[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("include-read", _redirect)
    return {"parallel_read_safe": True}
