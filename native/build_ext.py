"""Builds `aicalib_hw._native`: cffi in API mode against Python's stable ABI, so one build serves 3.11 and later.

Setuptools finds `BuildExt` through pyproject.toml. The extension is optional there: without a C compiler, or on Windows
where the kernels have not been ported, the package installs without it and `cpu://` says what is missing.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cffi
from setuptools import Extension
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, ExecError, PlatformError

sys.path.insert(0, str(Path(__file__).parents[1]))  # setuptools loads this file alone

from native import vendor_libraries

NAME = "aicalib_hw._native"
FOLDER = Path(__file__).parent
HEADER = FOLDER / "include" / "aicalib_native.h"
COMPILE_FLAGS = ("-std=gnu11", "-O2", "-g0", "-Wall", "-Wextra")
STABLE_ABI = "0x030B0000"
_BEGIN, _END = "/* cffi: begin", "/* cffi: end */"


def declarations() -> str:
    """Return the C declarations between the marks of the header, which are also the cdef."""
    text = HEADER.read_text(encoding="utf-8")
    return text[text.index("\n", text.index(_BEGIN)) : text.index(_END)]


def sources() -> list[Path]:
    """Return the C sources of all back ends, in a fixed order."""
    return sorted((FOLDER / "cpu").glob("*.c"))


def write_glue(path: Path) -> Path:
    """Let cffi write the C glue between Python and the kernels to `path`, and return it."""
    builder = cffi.FFI()
    builder.cdef(declarations())
    builder.set_source(NAME, '#include "aicalib_native.h"')
    path.parent.mkdir(parents=True, exist_ok=True)
    builder.emit_c_code(str(path))
    return path


class BuildExt(build_ext):
    """`build_ext` that has cffi write the glue first, and then builds the simulated vendor libraries."""

    def run(self) -> None:
        """Build the extension, then on Linux the simulated vendor libraries, which are optional like it."""
        super().run()
        if not sys.platform.startswith("linux"):
            return
        try:
            self._build_vendor_libraries()
        except (CCompilerError, ExecError, PlatformError) as error:
            self.warn(f"the simulated vendor libraries are left out: {error}")

    def _build_vendor_libraries(self) -> None:
        package = vendor_libraries.PACKAGE
        if self.inplace:
            folder = Path(self.get_finalized_command("build_py").get_package_dir(package))
        else:
            folder = Path(self.build_lib, *package.split("."))
        folder.mkdir(parents=True, exist_ok=True)
        headers = [str(path) for path in vendor_libraries.FOLDER.glob("*.h")]
        for library in vendor_libraries.LIBRARIES:
            objects = self.compiler.compile(
                [str(path.relative_to(FOLDER.parent)) for path in library.paths()],
                output_dir=str(Path(self.build_temp) / library.soname),
                extra_postargs=list(vendor_libraries.COMPILE_FLAGS),
                depends=headers,
            )
            self.compiler.link_shared_object(
                objects, str(folder / library.soname), extra_postargs=library.link_flags(folder)
            )

    def get_source_files(self) -> list[str]:
        """Return what the source distribution needs to build the extension."""
        wanted = [path for kind in ("*.c", "*.h", "*.py", "*.md") for path in FOLDER.rglob(kind)]
        return sorted(str(path.relative_to(FOLDER.parent)) for path in wanted if "build" not in path.parts)

    def build_extension(self, ext: Extension) -> None:
        """Compile and link one extension; ours gets its glue, sources and flags here."""
        if ext.name == NAME and os.name == "nt":
            raise PlatformError("the kernels have not been ported to Windows")
        if ext.name == NAME:
            glue = write_glue(Path(self.build_temp) / "_native.c")
            ext.sources = [str(glue), *(str(path.relative_to(FOLDER.parent)) for path in sources())]
            ext.depends = [str(path) for path in FOLDER.rglob("*.h")]
            ext.include_dirs = [str(HEADER.parent)]
            ext.define_macros = [("Py_LIMITED_API", STABLE_ABI)]
            ext.extra_compile_args = list(COMPILE_FLAGS)
        super().build_extension(ext)
