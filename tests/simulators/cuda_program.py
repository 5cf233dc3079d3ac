"""A small client of the CUDA driver API, and NVIDIA's run-time compiler that makes PTX for it from CUDA C.

Neither knows anything of this project: the compiler is the wheel nvidia-cuda-nvrtc, unmodified.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@functools.cache
def ptx(source: str, architecture: str = "compute_80") -> bytes:
    """Compile CUDA C to PTX, in a process of its own that has no simulated library in it."""
    done = subprocess.run(
        [sys.executable, __file__, architecture], input=source.encode(), capture_output=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def compiled(source: str, architecture: str) -> bytes:
    """Compile CUDA C to PTX in this process."""
    spec = importlib.util.find_spec("nvidia")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folders = [Path(place) for place in spec.submodule_search_locations]
    for builtins in [path for folder in folders for path in folder.rglob("libnvrtc-builtins.so*")]:
        ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(str(next(path for folder in folders for path in folder.rglob("libnvrtc.so*"))))
    program = ctypes.c_void_p()
    assert library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None) == 0
    options = (ctypes.c_char_p * 1)(f"--gpu-architecture={architecture}".encode())
    if library.nvrtcCompileProgram(program, 1, options) != 0:
        size = ctypes.c_size_t()
        library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        library.nvrtcGetProgramLog(program, log)
        raise AssertionError(log.value.decode())
    size = ctypes.c_size_t()
    assert library.nvrtcGetPTXSize(program, ctypes.byref(size)) == 0
    text = ctypes.create_string_buffer(size.value)
    assert library.nvrtcGetPTX(program, text) == 0
    return text.value


class CudaError(Exception):
    """A CUresult that is not 0."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"CUresult {code}")


class Cuda:
    """One device, its primary context current; numpy arrays go up and come back."""

    def __init__(self, number: int = 0) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")  # by its name: the one that is loaded
        self("cuInit", 0)
        context = ctypes.c_void_p()
        self.number = number
        self("cuDevicePrimaryCtxRetain", ctypes.byref(context), number)
        self("cuCtxSetCurrent", context)
        self.log = ctypes.create_string_buffer(1000)

    def __call__(self, function: str, *arguments: Any) -> None:
        """Call a function of the library; raises CudaError."""
        code = getattr(self._library, function)(*arguments)
        if code != 0:
            raise CudaError(code)

    def close(self) -> None:
        self("cuDevicePrimaryCtxRelease_v2", self.number)

    def module(self, image: bytes) -> ctypes.c_void_p:
        module = ctypes.c_void_p()
        options = (ctypes.c_int * 2)(5, 6)
        values = (ctypes.c_void_p * 2)(ctypes.cast(self.log, ctypes.c_void_p), 1000)
        self("cuModuleLoadDataEx", ctypes.byref(module), image, 2, options, values)
        return module

    def function(self, image: bytes, name: str) -> ctypes.c_void_p:
        found = ctypes.c_void_p()
        self("cuModuleGetFunction", ctypes.byref(found), self.module(image), name.encode())
        return found

    def up(self, array: Array) -> ctypes.c_uint64:
        address = ctypes.c_uint64()
        self("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(array.nbytes))
        self("cuMemcpyHtoD_v2", address, array.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(array.nbytes))
        return address

    def down(self, address: ctypes.c_uint64, like: Array) -> Array:
        out = np.empty_like(like)
        self("cuMemcpyDtoH_v2", out.ctypes.data_as(ctypes.c_void_p), address, ctypes.c_size_t(out.nbytes))
        return out

    def launch(self, function: ctypes.c_void_p, grid: int, block: int, *arguments: Any) -> None:
        pointers = (ctypes.c_void_p * max(1, len(arguments)))(
            *[ctypes.cast(ctypes.byref(argument), ctypes.c_void_p) for argument in arguments]
        )
        self("cuLaunchKernel", function, grid, 1, 1, block, 1, 1, 0, None, pointers, None)

    @contextmanager
    def timed(self) -> Iterator[list[float]]:
        """Seconds by two events round what is launched inside, in the list that is given."""
        seconds: list[float] = []
        begin, end = ctypes.c_void_p(), ctypes.c_void_p()
        for event in (begin, end):
            self("cuEventCreate", ctypes.byref(event), 0)
        self("cuEventRecord", begin, None)
        yield seconds
        self("cuEventRecord", end, None)
        self("cuEventSynchronize", end)
        milliseconds = ctypes.c_float()
        self("cuEventElapsedTime", ctypes.byref(milliseconds), begin, end)
        seconds.append(milliseconds.value * 1e-3)
        for event in (begin, end):
            self("cuEventDestroy_v2", event)


if __name__ == "__main__":
    sys.stdout.buffer.write(compiled(sys.stdin.read(), sys.argv[1]))
