"""Settings of Sphinx for the documents' site: ``make docs`` writes it into site/.

The source folder is the root of the repository. So links between documents, and from them to figures, work on the site
as they do in the repository, and no page exists twice.
"""

from __future__ import annotations

import inspect
import sys
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# Before autodoc does, which sets TYPE_CHECKING: pydantic's generation of this module's models fails under it.
import models.card  # noqa: E402, F401

project = "mistwatch"
release = version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
html_title = f"{project} {version}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "docs/**.rst", "bench/results/**.md"]
#: Sphinx looks into every folder that is not named here. parts.md has no title: it is a part of another page.
exclude_patterns = [".*", "runs", "site", "shared", "dist", "build", "tests", "bench/results/parts.md"]

# -- Markdown
myst_heading_anchors = 4  # those of a repository's browser: docs/OPERATIONS.md#drift
highlight_language = "text"
suppress_warnings = [
    "misc.highlighting_failure",  # JSON and YAML with an ellipsis
    "ref.python",  # names such as Segment, which several modules have
]

# -- the reference, from the docstrings
autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_mock_imports = ["cv2", "openvino", "torch", "torchvision"]  # so that the extra docs needs none of them
python_use_unqualified_type_names = True
napoleon_use_ivar = True  # attributes in a docstring are lines of it, not objects beside those of the class
add_module_names = False

# -- pages: the theme has the system's fonts and its own files, nothing of another host
html_theme = "furo"
html_favicon = str(ROOT / "pipeline" / "console" / "static" / "icon.svg")
html_extra_path = [str(ROOT / "docs" / "entry")]  # index.html, which leads to docs/index.html
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False


def setup(app: Any) -> None:
    """Change docstrings as they are read."""
    app.connect("autodoc-process-docstring", _fields_of_models)
    app.connect("autodoc-process-docstring", _tables_as_they_are)


def _fields_of_models(_app: Any, what: str, _name: str, item: Any, _options: Any, lines: list[str]) -> None:
    """List the fields of pydantic models, whose descriptions stand outside their docstrings."""
    if what == "class" and isinstance(item, type) and issubclass(item, BaseModel):
        own = {name: item.model_fields[name] for name in inspect.get_annotations(item) if name in item.model_fields}
        described = [f":ivar {name}: {_plain(field.description)}" for name, field in own.items() if field.description]
        lines += ["", *described, ""] if described else []


def _tables_as_they_are(_app: Any, _what: str, _name: str, _item: Any, _options: Any, lines: list[str]) -> None:
    """Show the tables of docstrings, which are Markdown, as they are written."""
    for place in reversed(range(len(lines))):
        if lines[place].startswith("|"):
            lines[place] = f"    {lines[place]}"
            if place == 0 or not lines[place - 1].startswith("|"):
                lines[place:place] = ["::", ""]


def _plain(text: str) -> str:
    """Return ``text`` without a meaning in reStructuredText."""
    return "".join(f"\\{letter}" if letter in "\\*`|_" else letter for letter in text.replace("\n", " "))
