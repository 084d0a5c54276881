"""How Sphinx builds the site: ``make docs``."""

from __future__ import annotations

from typing import Any

import msgspec
from sphinx.application import Sphinx

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

autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "exclude-members": "__init__, __new__",
}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
add_module_names = False
toc_object_entries_show_parents = "hide"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"Jobmon {release}"
html_show_sphinx = False
html_static_path: list[str] = []

INTERNAL = frozenset(
    {
        "arg_ids",
        "cascade",
        "find",
        "from_wire",
        "inferred",
        "of_outcome",
        "of_values",
        "snapshot",
        "take_defaults",
        "take_over",
        "take_resources_from_yaml",
        "take_scales_from_yaml",
        "to_wire",
        "add_note",
        "with_traceback",
    }
)
"""Members without an underscore that only Jobmon itself calls, and those of every exception."""


def is_left_out(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: Any) -> bool | None:
    """Whether the reference leaves out a member."""
    return True if what == "class" and name in INTERNAL else None


def shorten(
    app: Sphinx, what: str, name: str, obj: object, options: Any, arguments: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Leave out the arguments of classes that no script calls: messages and exceptions."""
    is_made_by_jobmon = isinstance(obj, type) and issubclass(obj, (msgspec.Struct, BaseException))
    return ("", returned) if is_made_by_jobmon else (arguments, returned)


def setup(app: Sphinx) -> None:
    """Have the reference show what scripts use."""
    app.connect("autodoc-skip-member", is_left_out)
    app.connect("autodoc-process-signature", shorten)
