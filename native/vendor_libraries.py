"""The simulated vendor libraries: what each is made of. Built with the wheel (`build_ext.py`) and by `sanitize.py`.

They go into `aicalib_hw/simulators/vendor_libraries/`, which no loader searches, so that installing this package never
puts a simulated library in place of a real one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "simulated"
PACKAGE = "aicalib_hw.simulators.vendor_libraries"
COMPILE_FLAGS = ("-std=c11", "-O2", "-g0", "-Wall", "-Wextra", "-fPIC", "-fvisibility=hidden")
_NODE = ("node.c", "physics.c", "models.c")


@dataclass(frozen=True, slots=True)
class Library:
    """One shared library: the name it is loaded by, its sources, and which of the others it stands on."""

    soname: str
    sources: tuple[str, ...]
    needs: tuple[str, ...] = ()

    def paths(self) -> list[Path]:
        """Return the sources of this library."""
        return [FOLDER / name for name in self.sources]

    def link_flags(self, folder: Path) -> list[str]:
        """Return the linker's arguments, the libraries it needs being in `folder` now and beside it later."""
        flags = [f"-Wl,-soname,{self.soname}", "-Wl,-z,defs"]
        if self.needs:
            flags += [*(str(folder / name) for name in self.needs), "-Wl,-rpath,$ORIGIN"]
        return [*flags, "-lm", "-lpthread"]


LIBRARIES = (
    Library("libaicalib-node.so", ("control.c", *_NODE)),
    Library("libnvidia-ml.so.1", ("nvml.c", *_NODE)),
    Library("libcuda.so.1", ("cuda.c", "ptx_parse.c", "ptx_run.c", "ptx_mma.c", "numbers.c", *_NODE)),
    Library("libdcmi.so", ("dcmi.c", *_NODE)),
    Library("libascendcl.so", ("ascendcl.c", "numbers.c", *_NODE)),
    Library("libnnopbase.so", ("nnopbase.c",)),
    Library("libopapi.so", ("opapi.c",), needs=("libascendcl.so", "libnnopbase.so")),
    Library("libvisa.so", ("visa.c",)),
)
