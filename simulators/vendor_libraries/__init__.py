"""Where the simulated vendor libraries lie, built in C from `native/simulated/`: outside every loader's path.

A program is given them by `LD_LIBRARY_PATH`, or in the same process by loading one by its path before anybody asks for
its name: the loader then takes the loaded one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aicalib_hw.errors import MissingExtra

FOLDER = Path(__file__).parent
NODE = "libaicalib-node.so"
"""The simulated world's own door to a node; no vendor library."""
NVIDIA = ("libnvidia-ml.so.1", "libcuda.so.1")
ASCEND = ("libdcmi.so", "libascendcl.so", "libnnopbase.so", "libopapi.so")
VISA = "libvisa.so"
"""A maker's VISA; PyVISA loads it by its path."""

ENVIRONMENT = "AICALIB_SIMULATED_NODE"
"""The variable that tells the libraries the page of the node: a path."""
PROFILE = "AICALIB_SIMULATED_PROFILE"
"""The variable that gives them a node of their own instead: `nvidia-h100`, or `nvidia-h100*2` for two devices."""

PLUGGED = "AICALIB_SIMULATED_VISA"
"""The variable that tells the VISA library what is plugged in; see `plugged`."""


def path_of(library: str) -> Path:
    """Return the path of a built library; raises MissingExtra where the package was installed without a C compiler."""
    path = FOLDER / library
    if not path.exists():
        raise MissingExtra(
            f"the simulated {library} has not been built",
            where=str(FOLDER),
            why="the package was installed without a C compiler, or not on Linux",
            advice="install gcc and the package again",
        )
    return path


def plugged(instruments: Mapping[str, str]) -> str:
    """Return what `PLUGGED` has to be: name at USB or GPIB → VXI-11 address of the simulated instrument behind it.

    A name is `USB0::0x0B21::0x0039::SIM1::INSTR` or `GPIB0::5::INSTR`, an address
    `TCPIP::127.0.0.1,38023::inst0::INSTR`.
    """
    return ";".join(f"{name}={address.split('::')[1]}" for name, address in instruments.items())


def without_symbol(library: str, symbol: str, folder: Path) -> Path:
    """Write a copy of a library that lacks one function, as an older one would, into `folder`; return its path.

    The name is changed in the copy's string tables, so that looking it up fails. Raises ValueError for a name that the
    library does not have.
    """
    image = path_of(library).read_bytes()
    name = b"\0" + symbol.encode("ascii") + b"\0"
    if name not in image:
        raise ValueError(f"{library} has no function {symbol}")
    copy = folder / library
    copy.write_bytes(image.replace(name, b"\0" + b"-" + name[2:]))
    return copy
