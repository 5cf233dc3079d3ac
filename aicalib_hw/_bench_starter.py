"""The text of a new bench file, made from the instruments that answered."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import ValidationError

from aicalib_hw import registry
from aicalib_hw.discovery import Finding
from aicalib_hw.errors import UnknownDriver

_NAMES = {"power_meter": "meter", "network_tester": "tester", "storage_tester": "storage"}
"""What an instrument of a role is called; any other by its family."""

_CALIBRATED = """
# What is calibrated and under what ambient conditions (degC, % relative), for the top of the report:
#
#   [platform]
#   maker = "…"
#   model = "…"
#   serial_number = "…"
#   location = "room 204"
#
#   [environment]
#   temperature = 23.0
#   humidity = 45.0
#   source = "thermo-hygrometer of the room, read by …"
"""

_AGREED = """
# The rule by which verdicts are given, agreed before measuring: "jjf1094", "nonbinary_u", "simple" or "none".
[decision]
rule = "none"
"""

_TO_FILL_IN = """
# To get a verdict, choose a rule above and say here what the platform says of itself, and how far that may be off:
#
#   [[indications]]
#   quantity = "power"
#   load = 1.0
#   value = 5.6
#   unit = "kW"
#   source = "its built-in power meter"
#
#   [permissible_errors.power]
#   value = 0.05
#   kind = "relative"
#   source = "purchase contract, annex B"
"""


def starter(name: str, findings: Sequence[Finding], *, visa_library: str | None = None) -> str:
    """Return a bench file, TOML text, with an instrument for each finding and the accelerator, if any, as its load.

    visa_library: by which VISA resource names were asked, None = the drivers' own.
    An instrument with a serial number is expected to be that very one. Its simulator, where its driver has one, is of
    its model where it can be. Raises UnknownDriver for a finding that no driver knows.
    """
    parts = [f"[bench]\nname = {_quoted(name)}\n", _CALIBRATED, _AGREED]
    load = ""
    taken: dict[str, int] = {}
    for finding in findings:
        if not finding.driver:
            raise UnknownDriver(
                "no driver knows what answers there",
                where=finding.address,
                why=finding.note or str(finding.identity),
                advice="`aicalib drivers` lists those there are; generic-meter, written into a bench by hand, fits any "
                "SCPI meter",
            )
        info = registry.driver(finding.driver).DRIVER
        word = _NAMES.get(info.role, finding.driver)
        taken[word] = taken.get(word, 0) + 1
        called = word if taken[word] == 1 else f"{word}{taken[word]}"
        if info.role == "accelerator":
            load = load or called
        parts.append(_instrument(called, finding, str(info.simulator), visa_library))
    if load:
        parts.append(f"\n# What loads the platform while its power is measured.\n[load]\nsource = {_quoted(load)}\n")
    return "".join((*parts, _TO_FILL_IN))


def _instrument(name: str, finding: Finding, simulator: str, visa_library: str | None) -> str:
    lines = [f"\n[instruments.{name}]", f"driver = {_quoted(finding.driver)}", f"address = {_quoted(finding.address)}"]
    if visa_library is not None and "://" not in finding.address:
        lines.append(f"driver_options = {{ visa_library = {_quoted(visa_library)} }}")
    expected = {}
    if finding.identity is not None and finding.identity.serial:
        expected = {"model": finding.identity.model, "serial": finding.identity.serial}
    if simulator in registry.entries(registry.SIMULATORS):
        lines.append(f"simulator = {_quoted(simulator)}  # what --sim opens instead")
        if expected and _can_be(simulator, expected["model"]):
            lines.append(f"options = {{ model = {_quoted(expected['model'])} }}")
        else:
            expected.pop("model", None)  # a simulator of another model would be refused; the serial number says enough
    if expected:
        lines.append(f"identity = {{ {', '.join(f'{word} = {_quoted(text)}' for word, text in expected.items())} }}")
    return "\n".join(lines) + "\n"


def _can_be(simulator: str, model: str) -> bool:
    """True if the simulator of this name can be told to be of this model."""
    try:
        options = getattr(registry.simulator(simulator), "Options", None)
        if options is not None:
            options.model_validate({"model": model})
    except (ValidationError, UnknownDriver):
        return False
    return options is not None


def _quoted(text: str) -> str:
    """Text as a basic string of TOML, which takes all that JSON writes but the character DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
