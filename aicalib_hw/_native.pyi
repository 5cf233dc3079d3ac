"""The native extension, as cffi builds it: see native/include/aicalib_native.h for what `lib` holds."""

from typing import Any

ffi: Any
lib: Any
