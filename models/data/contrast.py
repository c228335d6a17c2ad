"""Contrast: what moves, seen against the scene that stands.

A backbone describes the place of a clip as much as what happens in it. The features of the standing scene, shown as a
clip of equal frames, hold the place alone, and the difference of the two hold what happens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from operators.background import Background, SceneKind
from operators.median import median_picture

if TYPE_CHECKING:
    from models.data.extraction import Clips, Place, SceneOf


class Contrast(BaseModel):
    """The standing scene that clips are compared with.

    Attributes:
        scene: ``clip`` is the median of the clip itself, ``background`` that of the last minutes, and until it is
            known that of the clip.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scene: SceneKind = SceneKind.CLIP

    def scenes(self) -> SceneOf:
        """Return what makes the standing scenes of one video's clips, in their order."""
        if self.scene is SceneKind.CLIP:
            return _of_the_clip
        background = Background()

        def scene_of(place: Place, clip: Clips) -> Clips:
            known = background.push(str(place.segment), place.start, clip)
            return median_picture(clip) if known is None else known

        return scene_of


def _of_the_clip(_place: Place, clip: Clips) -> Clips:
    return median_picture(clip)
