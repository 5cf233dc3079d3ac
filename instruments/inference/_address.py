"""The addresses of inference services: where they are, how they are spoken to, and where a key lies."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from aicalib_hw.errors import UsageError

OPENAI = "openai+https://HOST/v1?endpoint=completions&model=NAME&key_file=PATH&certificate=PATH&metrics=URL"
PROMETHEUS = (
    "prometheus+http://HOST/metrics?generated=METRIC&prompt=METRIC&running=METRIC&counts=token&longest=TOKENS&every=0.1"
    "&also=URL&key_file=PATH"
)

_USER = re.compile(r"//[^/]*@")


@dataclass(frozen=True, slots=True)
class Served:
    """An OpenAI-compatible endpoint. base: URL that ends in /v1 or the like. metrics: URL of the counters, "" = none.

    model: the one that is meant where none is named, "" = the only one served. generated, prompt: metrics to read
    instead of those that are known.
    """

    base: str
    endpoint: str
    model: str
    metrics: str
    generated: str
    prompt: str
    certificate: str | None
    key_file: Path | None

    @property
    def chat(self) -> bool:
        """True if prompts are sent as messages of a chat."""
        return self.endpoint == "chat"

    @property
    def path(self) -> str:
        """Where requests are sent, below the base."""
        return "/chat/completions" if self.chat else "/completions"


@dataclass(frozen=True, slots=True)
class Counted:
    """Pages of counters. pages: URLs, whose counters are summed. every: s between two looks at them.

    counts: "token" or "request", when the engine counts generated tokens; "" = as is known of it. longest: most tokens
    of one answer, 0 = not stated.
    """

    pages: tuple[str, ...]
    generated: str
    prompt: str
    running: str
    counts: str
    longest: int
    every: float
    certificate: str | None
    key_file: Path | None


def served_at(address: str) -> Served:
    """Take an `openai+…` address apart; raises UsageError naming what does not belong there."""
    base, options, refuse = _parts(address, "openai", OPENAI)
    single = dict(options)
    endpoint = single.pop("endpoint", "completions")
    if endpoint not in ("completions", "chat"):
        raise refuse("endpoint is completions or chat")
    host = urlsplit(base)
    metrics = single.pop("metrics", f"{host.scheme}://{host.netloc}/metrics")
    if metrics != "no" and urlsplit(metrics).scheme not in ("http", "https"):
        raise refuse("metrics is a URL, or no")
    _require_no_secret(metrics, "metrics=", OPENAI)
    key = single.pop("key_file", "")
    place = Served(
        base.rstrip("/"),
        endpoint,
        single.pop("model", ""),
        "" if metrics == "no" else metrics,
        single.pop("generated", ""),
        single.pop("prompt", ""),
        single.pop("certificate", None),
        Path(key) if key else None,
    )
    if single:
        raise refuse(f"unknown: {', '.join(single)}")
    return place


def counted_at(address: str) -> Counted:
    """Take a `prometheus+…` address apart; raises UsageError naming what does not belong there."""
    base, options, refuse = _parts(address, "prometheus", PROMETHEUS)
    more = [value for name, value in options if name == "also"]
    single = {name: value for name, value in options if name != "also"}
    for page in more:
        _require_no_secret(page, "also=", PROMETHEUS)
        if urlsplit(page).scheme not in ("http", "https") or not urlsplit(page).hostname:
            raise refuse(f"also={page} is no URL of http or https")
    if len({base, *more}) <= len(more):
        raise refuse("a page is named twice, and its tokens would count twice")
    try:
        every = float(single.pop("every", "0.1"))
    except ValueError as error:
        raise refuse(str(error)) from error
    if not 0.01 <= every <= 3600:
        raise refuse("every is 0.01 to 3600 s")
    key = single.pop("key_file", "")
    counts = single.pop("counts", "")
    if counts not in ("", "token", "request"):
        raise refuse("counts is token or request")
    longest = single.pop("longest", "0")
    if not (longest.isascii() and longest.isdigit()):
        raise refuse("longest is a whole number of tokens")
    place = Counted(
        (base, *more),
        single.pop("generated", ""),
        single.pop("prompt", ""),
        single.pop("running", ""),
        counts,
        int(longest),
        every,
        single.pop("certificate", None),
        Path(key) if key else None,
    )
    if single:
        raise refuse(f"unknown: {', '.join(single)}")
    return place


def key_in(file: Path | None) -> str:
    """Return the key that lies in a file, "" for no file; raises UsageError, which never shows what is in it."""
    if file is None:
        return ""
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(
            "the file with the key of the service cannot be read",
            where=str(file),
            why=why or "",
            advice="see key_file=",
        ) from None
    if not key or len(key.split()) != 1 or not key.isascii() or not key.isprintable():
        raise UsageError(
            "the file with the key of the service does not hold one word",
            where=str(file),
            advice="put the key alone in it",
        )
    return key


def _parts(address: str, family: str, form: str) -> tuple[str, list[tuple[str, str]], Callable[[str], UsageError]]:
    def refuse(why: str) -> UsageError:
        # Without its options: one that does not belong there may be a key.
        shown = _USER.sub("//…@", address.partition("?")[0])
        return UsageError(f"{shown!r} is no address of an inference service", why=why, advice=form)

    scheme, _, rest = address.partition("://")
    inner = scheme.removeprefix(f"{family}+")
    try:
        parts = urlsplit(f"{inner}://{rest}")
        port = parts.port
        options = parse_qsl(parts.query, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise refuse(str(error)) from error
    if scheme != f"{family}+{inner}" or inner not in ("http", "https") or not parts.hostname or port == 0:
        raise refuse("it names no host to be reached over http or https")
    _require_no_secret(f"{inner}://{rest}", "the address of an inference service", form)
    return f"{inner}://{parts.netloc}{parts.path}", options, refuse


def _require_no_secret(url: str, name: str, form: str) -> None:
    """Raise UsageError, which does not show it, for a URL with a user, a password or a fragment."""
    parts = urlsplit(url)
    if parts.username or parts.password or parts.fragment:
        raise UsageError(
            f"{name} on {parts.hostname} holds a user, a password or a fragment",
            why="addresses are shown and recorded",
            advice=f"put a key into a file and name it: {form}",
        )
