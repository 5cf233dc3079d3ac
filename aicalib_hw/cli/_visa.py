"""The option that names the VISA library, for USB and GPIB where PyVISA-py cannot reach them, as on most Windows."""

from __future__ import annotations

from typing import Annotated

import typer

VisaLibrary = Annotated[
    str | None,
    typer.Option(
        "--visa-library",
        metavar="LIBRARY",
        help="The VISA to use: @ivi = the maker's that is installed, or the path of its file. Default: PyVISA-py.",
    ),
]


def keywords(visa_library: str | None) -> dict[str, str]:
    """Return what a driver's constructor is to be told of it."""
    return {} if visa_library is None else {"visa_library": visa_library}
