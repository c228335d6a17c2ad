"""The templates of HTML pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def templates() -> Environment:
    """Return the folder of templates. Values are escaped, and a variable that is missing is an error.

    Raises:
        ModuleNotFoundError: jinja2 is not installed; the command line explains what to do.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined  # of the extra evaluate; a worker has none

    return Environment(
        loader=PackageLoader("pipeline.evaluation.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
