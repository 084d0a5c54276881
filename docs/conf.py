"""How Sphinx builds the site: ``make docs``."""

from __future__ import annotations

from jobmon.core import __version__

project = "Jobmon"
author = "The Jobmon developers"
project_copyright = "The Jobmon developers; BSD 3-Clause"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["adr/README.md"]
source_suffix = {".md": "markdown"}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = [
    "ref.python"
]  # words in docstrings that name several things; every other warning is an error

autodoc_default_options = {"members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_class_signature = "separated"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"Jobmon {release}"
html_show_sphinx = False
html_static_path: list[str] = []
