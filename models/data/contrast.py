"""Contrast: differences of a clip's features and maps from those of its standing scene.

A backbone's features describe the place of a clip as much as the action. Those of the standing scene, computed as a
clip of equal frames, describe the place alone, and the difference leaves the action.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, model_validator

from operators.background import Background, BackgroundSettings, SceneKind
from operators.median import median_picture

if TYPE_CHECKING:
    from models.data.extraction import Clips, Place, SceneOf


_DEFAULTS = BackgroundSettings()


class StoredBackground(BaseModel):
    """Settings of the background as recipes and model cards store them.

    See :class:`operators.background.BackgroundSettings`. Short videos need a span of their own length: by default the
    background is not known in the first minute. A worker always uses the default settings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float = _DEFAULTS.seconds
    samples: int = _DEFAULTS.samples
    known_after: int = _DEFAULTS.known_after

    @model_validator(mode="after")
    def _usable(self) -> StoredBackground:
        self.settings()
        return self

    def settings(self) -> BackgroundSettings:
        """Return the same for the operator."""
        return BackgroundSettings(**self.model_dump())


class Contrast(BaseModel):
    """The standing scene that clips are compared with.

    Attributes:
        scene: ``clip`` is the median of the clip itself; ``background`` is that of the last minutes, and until it is
            known, the median of the clip serves.
        background: settings of the background; None: those of a live camera.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scene: SceneKind = SceneKind.CLIP
    background: StoredBackground | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Contrast:
        if self.background is not None and self.scene is not SceneKind.BACKGROUND:
            raise ValueError(f"settings of the background need scene: background, got {self.scene}")
        return self

    def scenes(self) -> SceneOf:
        """Return a function that makes the standing scenes of one video's clips, in their order."""
        if self.scene is SceneKind.CLIP:
            return _of_the_clip
        background = Background(self.background.settings() if self.background is not None else None)

        def scene_of(place: Place, clip: Clips) -> Clips:
            known = background.push(str(place.segment), place.start, clip)
            return median_picture(clip) if known is None else known

        return scene_of


def _of_the_clip(_place: Place, clip: Clips) -> Clips:
    return median_picture(clip)
