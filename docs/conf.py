"""How the documentation is built: `make docs`; every warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path

import aicalib_hw

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "aicalib-hw"
version = release = aicalib_hw.__version__
author = copyright = "the aicalib-hw authors"

extensions = ["myst_parser", "sphinx.ext.autodoc", "docstrings", "pages_from_outside", "power_meters"]
exclude_patterns = ["_build", "_extensions"]
html_theme = "furo"
html_title = f"aicalib-hw {release}"
html_copy_source = False
html_static_path: list[str] = []

myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
toc_object_entries = False
