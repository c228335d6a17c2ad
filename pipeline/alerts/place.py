"""The place and the things of an alert, as a model of places names them.

Classes are given as paths of the model's label tree, from a class of the root down: ``("ground", "walkway")``.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.alerts.cloud_event import Document

Name = Annotated[str, Field(min_length=1)]
ClassPath = Annotated[tuple[Name, ...], Field(min_length=1)]


class Place(Document):
    """The classes of the picture where the model's heat is."""

    version: Name = Field(description="the model of places and its weights")
    place: ClassPath | None = Field(
        description="class of the standing scene at the foot of the thing, or under the peak of HEAT where none is "
        "there, from the root's class down; null where the camera has no place map (yet)"
    )
    object: ClassPath | None = Field(
        description="class of most of the things' pixels in the box of HEAT, in the picture of the peak; null: none "
        "is there"
    )

    @property
    def words(self) -> str:
        """The thing and the place for people, the most particular classes: ``cart on walkway``; may be empty."""
        thing = "" if self.object is None else self.object[-1]
        place = "" if self.place is None else self.place[-1]
        return f"{thing} on {place}" if thing and place else thing or place
