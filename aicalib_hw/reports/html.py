"""A record as one HTML file: no script, nothing from outside, the same on the screen and on paper."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aicalib_hw.errors import MissingExtra
from aicalib_hw.records.contents import read_record
from aicalib_hw.records.files import write_whole
from aicalib_hw.records.seal import verify_record
from aicalib_hw.reports.language import Words
from aicalib_hw.reports.session import session

if TYPE_CHECKING:
    from markupsafe import Markup

_FOLDER = Path(__file__).parent


def write_report(record_path: str | Path, html_path: str | Path, *, language: str = "en") -> Path:
    """Write the report of a record, also of one that broke off, and return its path; an older report is replaced.

    language: "en" or "zh". Raises RecordError for a record that cannot be read or a file that cannot be written,
    UsageError for another language, MissingExtra without the extra `reports`.
    """
    words = Words(language)
    template = _template()
    contents = read_record(record_path)
    shown = session(contents, verify_record(record_path), words)
    style = (_FOLDER / "report.css").read_text(encoding="utf-8")
    return write_whole(html_path, template.render(report=shown, words=words, style=style))


@cache
def _template() -> Any:
    """Compiled once: it takes as long as to draw the plots of a point."""
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtra.for_library("jinja2", "reports", "a report") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["css_text"] = _css_text
    return environment.get_template("report.html.jinja")


def _css_text(text: str) -> Markup:
    """Return text as a CSS string that cannot leave its quotes, nor the style element."""
    from markupsafe import Markup

    return Markup('"' + "".join(c if c.isalnum() else f"\\{ord(c):06x}" for c in text) + '"')
