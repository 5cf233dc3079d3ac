"""What is answered with an error; standard library alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


class Refused(Exception):
    """What is answered with an error. status: of HTTP; kind: `type` of the error object."""

    def __init__(self, status: int, message: str, kind: str = "BadRequestError", param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.param = status, kind, param


def body_of(content: bytes) -> dict[str, Any]:
    """Return what a request asks for; raises Refused where it is no JSON object."""
    try:
        asked = json.loads(content)
    except ValueError as error:
        raise Refused(400, f"the body is no JSON: {error}") from None
    if not isinstance(asked, dict):
        raise Refused(400, "the body is no JSON object")
    return asked


def counted(count: Callable[[Any], int], value: Any) -> int:
    """Return the tokens of a prompt; raises Refused for one that cannot be counted."""
    try:
        return count(value)
    except ValueError as error:
        raise Refused(400, str(error)) from None
