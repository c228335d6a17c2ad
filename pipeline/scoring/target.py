"""The thing that scores a clip: a served model, or in one that hosts the parts of many cameras the part of one."""

from __future__ import annotations

from typing import NamedTuple


class Target(NamedTuple):
    """A served model, or one of its parts.

    Attributes:
        model: the model's name on the server.
        part: the part that requests name, which is that of a camera; empty for a model without parts, and for a hosting
            model as a whole.
    """

    model: str
    part: str = ""

    @property
    def whole(self) -> Target:
        """Return the model as a whole."""
        return Target(self.model)

    def __str__(self) -> str:
        return f"part {self.part} of {self.model}" if self.part else self.model
