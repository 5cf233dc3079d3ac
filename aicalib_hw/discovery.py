"""From an address to the opened instrument behind it, and from nothing to the addresses there are."""

from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aicalib_hw import registry
from aicalib_hw.errors import AicalibError, IdentityMismatch, MissingExtra, UnknownDriver, UsageError
from aicalib_hw.identity import Identity
from aicalib_hw.interfaces.instrument import Instrument

_IDENTIFIABLE = ("TCPIP", "USB", "GPIB")
"""Interfaces where `*IDN?` is asked of what was found; never on a serial port, where anything may be listening."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One address that answers: by which method it was found, who it is and which driver knows it.

    identity: None where it was not asked or did not answer; driver: "" where none knows it;
    note: why, in words.
    """

    address: str
    method: str
    identity: Identity | None = None
    driver: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Discovery:
    """What `discover()` found, and for each method what it did or why it could not."""

    findings: tuple[Finding, ...]
    methods: Mapping[str, str]


def open_instrument(
    address: str, *, driver: str | None = None, timeout: float | None = None, trace: Any = None, **settings: Any
) -> Any:
    """Open the instrument at `address` and return it; close it, or use it in a `with`.

    address: a URL whose scheme names the driver family (cpu://local) or a VISA resource name, where
        the driver is found from `*IDN?`. driver: name it yourself instead.
    timeout: s for one exchange, None = the driver's own. trace: gets every exchange.
    settings: keywords of that driver's constructor.

    Raises UsageError for what is no address, UnknownDriver if nobody knows the scheme or the
    instrument, ConnectionFailed if nothing answers, IdentityMismatch if the named driver is not for
    what answers.
    """
    options = {name: value for name, value in (("timeout", timeout), ("trace", trace)) if value is not None}
    if driver is not None:
        kind = registry.driver(driver)
    else:
        kind = registry.driver_for_address(address)
        if kind is None:
            of_link = {name: settings[name] for name in ("visa_library", "baud_rate") if name in settings}
            kind = registry.driver_for_identity(ask_identity(address, **options, **of_link))
    instrument = _construct(kind, address, {**options, **settings})
    instrument.open()
    try:
        require_identity(instrument)
    except BaseException:
        instrument.close()
        raise
    return instrument


def ask_identity(address: str, *, timeout: float | None = None, trace: Any = None, **of_link: Any) -> Identity:
    """Ask `*IDN?` of the VISA resource `address` and return the answer; opens and closes its own link.

    of_link: `visa_library` and `baud_rate`, as `VisaLink` takes them. On a socket or a serial port the
    question ends with CR LF, which those that want LF alone take as well: to them CR is white space.
    """
    require_resource_name(address)
    from aicalib_hw.transport.visa import VisaLink

    options = of_link if timeout is None else {**of_link, "timeout": timeout}
    with VisaLink(address, trace=trace, write_termination="\r\n", **options) as link:
        answer = link.query("*IDN?")
    maker, model, serial, firmware = (*(part.strip() for part in answer.split(",", 3)), "", "", "", "")[:4]
    return Identity(maker, model, serial, firmware, address)


def identify_address(
    address: str, *, method: str = "address", timeout: float | None = None, trace: Any = None, **of_link: Any
) -> Finding:
    """Ask who is at `address`, and say which driver knows it; a stranger is a finding without driver.

    of_link: as `ask_identity` takes it; of no account for an address that is a URL.
    Raises ConnectionFailed if nothing answers, UsageError for what is no address.
    """
    options = {name: value for name, value in (("timeout", timeout), ("trace", trace)) if value is not None}
    kind = registry.driver_for_address(address)
    if kind is not None:
        with _construct(kind, address, options) as instrument:
            return Finding(address, method, instrument.identity, kind.DRIVER.name)
    identity = ask_identity(address, **options, **of_link)
    try:
        return Finding(address, method, identity, registry.driver_for_identity(identity).DRIVER.name)
    except UnknownDriver as error:
        return Finding(address, method, identity, note=error.what)


def require_resource_name(address: str) -> None:
    """Raise UsageError unless `address` is written as VISA resource names are."""
    from pyvisa import errors, rname

    try:
        rname.ResourceName.from_string(address)
    except (errors.Error, rname.InvalidResourceName, ValueError) as error:
        raise UsageError(
            f"{address!r} is not an address",
            where="the address that was given",
            why=" ".join(str(error).split()),
            advice="write TCPIP::192.168.1.7::INSTR for a VISA instrument, cpu://local for this machine; "
            "`aicalib discover` looks for what is there",
        ) from error


def require_identity(
    instrument: Instrument, *, maker: str | None = None, model: str | None = None, serial: str | None = None
) -> None:
    """Raise IdentityMismatch unless the opened instrument is for its driver, and is the expected one.

    maker, model, serial: what must answer, compared without case; None = whatever the driver is for.
    """
    identity, info = instrument.identity, instrument.DRIVER
    if info.models and not info.matches(identity):
        raise IdentityMismatch(
            f"{identity.name} answers, which is no instrument for the driver {info.name}",
            where=instrument.address,
            why=f"that driver is for {info.summary}",
            advice="correct the address, or leave the driver out to have it found",
        )
    for word, expected, found in (
        ("maker", maker, identity.maker),
        ("model", model, identity.model),
        ("serial", serial, identity.serial),
    ):
        if expected is not None and expected.casefold() != found.casefold():
            raise IdentityMismatch(
                f"another instrument answers: {identity}",
                where=instrument.address,
                why=f"expected {word} {expected!r}, found {found!r}",
                advice="correct the address, or what is expected there",
            )


def discover(*, timeout: float = 5.0, visa_library: str | None = None) -> Discovery:
    """Look for instruments: what VISA lists, and what this machine itself has. No port is ever scanned.

    timeout: s for each method, and for each `*IDN?`. visa_library: the one that lists and asks, as PyVISA takes it
    ("@ivi", a path), None = PyVISA-py. Raises UsageError if that one cannot be loaded.
    """
    methods: dict[str, str] = {}
    findings = [*_local(methods), *_visa(methods, timeout, visa_library)]
    if visa_library is None:
        _look_for_makers(methods)
    return Discovery(tuple(findings), methods)


def _local(methods: dict[str, str]) -> list[Finding]:
    """What this machine has of its own, family by family: processor and accelerators."""
    findings: list[Finding] = []
    for name, entry in registry.entries(registry.DRIVERS).items():
        try:
            kind = entry.load()
            if not kind.DRIVER.schemes:
                continue
            addresses = kind.local_addresses()
        except AicalibError as error:
            methods[f"driver {name}"] = f"not asked: {error.why or error.what}"
            continue
        findings += [_identified(address, "this machine", timeout=None) for address in addresses]
    methods["this machine"] = f"{len(findings)} found" if findings else "no driver for what this machine has"
    return findings


def _visa(methods: dict[str, str], timeout: float, library: str | None) -> list[Finding]:
    from aicalib_hw.transport.visa import resource_manager

    try:
        visa, lacks = _without_warnings(lambda: resource_manager(library or "@py", where="discovery"))
        said, more = _without_warnings(lambda: _interfaces(visa)) if library is None else ({}, [])
        methods.update(said)
        # in the thread that looks, which goes on where its time is over
        found = _within(timeout, lambda: _without_warnings(visa.list_resources))
        listed, last = found if found is not None else (None, [])
    except MissingExtra as error:
        methods["VISA"] = f"not asked: {error.what}"
        return []
    except Exception as error:
        if library is not None and isinstance(error, UsageError):  # one that was named cannot be loaded
            raise
        methods["VISA"] = f"listing failed: {error}"
        return []
    if lacks or more or last:
        methods["VISA, not looked everywhere"] = "; ".join(dict.fromkeys([*lacks, *more, *last]))
    if listed is None:
        methods["VISA"] = f"listing did not end within {timeout:g} s"
        return []
    methods["VISA"] = f"{len(listed)} listed by {library or 'pyvisa-py'}"
    of_link = {} if library is None else {"visa_library": library}
    findings = []
    for address in listed:
        if address.startswith(_IDENTIFIABLE):
            findings.append(_identified(address, "VISA", timeout=timeout, **of_link))
        else:
            findings.append(Finding(address, "VISA", note="not asked who it is: anything may listen on this port"))
    return findings


def _look_for_makers(methods: dict[str, str]) -> None:
    """Say which maker's VISA is installed beside PyVISA-py; a look that fails costs no more than the hint."""
    try:
        from pyvisa.ctwrapper.highlevel import IVIVisaLibrary

        if others := IVIVisaLibrary.get_library_paths():
            methods["VISA of a maker"] = f"not asked: {others[0]} is installed; name it by --visa-library @ivi"
    except Exception as error:  # noqa: BLE001 - PyVISA parses a file of the user's, which may say anything
        methods["VISA of a maker"] = f"not looked for: {' '.join(str(error).split())}"


def _identified(address: str, method: str, *, timeout: float | None, **of_link: Any) -> Finding:
    try:
        return identify_address(address, method=method, timeout=timeout, **of_link)
    except AicalibError as error:
        return Finding(address, method, note="; ".join(text for text in (error.what, error.why) if text))


def _interfaces(visa: Any) -> dict[str, str]:
    """What pyvisa-py says of each interface: asked, or which library it would need."""
    debug = visa.visalib.get_debug_info()
    said = {}
    for interface in ("TCPIP", "USB", "GPIB", "ASRL"):
        state = debug.get(f"{interface} INSTR", "unknown to this pyvisa-py")
        lines = [state] if isinstance(state, str) else state
        text = " ".join(" ".join(lines).split())
        said[f"VISA {interface}"] = f"asked ({text})" if text.startswith("Available") else f"not asked: {text}"
    return said


def _without_warnings(work: Callable[[], Any]) -> tuple[Any, list[str]]:
    """Return what `work` returns, and the texts of the warnings that its libraries would print meanwhile."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        result = work()
    return result, [" ".join(str(one.message).split()) for one in told if one.category is UserWarning]


def _within(timeout: float, work: Callable[[], Any]) -> Any | None:
    """Return what `work` returns, or None if it has not ended after `timeout` s; re-raise what it raises."""
    result: list[Any] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except Exception as error:  # noqa: BLE001 - carried to the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run, name="discovery", daemon=True)
    thread.start()
    thread.join(timeout)
    if failure:
        raise failure[0]
    return result[0] if result else None


def _construct(kind: Any, address: str, options: dict[str, Any]) -> Instrument:
    try:
        inspect.signature(kind).bind(address, **options)
    except TypeError as error:
        known = ", ".join(inspect.signature(kind).parameters)
        raise UsageError(
            f"the driver {kind.DRIVER.name} cannot be opened with these keywords",
            where=address,
            why=str(error),
            advice=f"it knows: {known}",
        ) from error
    instrument: Instrument = kind(address, **options)
    return instrument
