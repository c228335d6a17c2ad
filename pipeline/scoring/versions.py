"""Versions of a served model: those that may score. No I/O, no thread, no clock: the caller passes times in.

A version may score once it has described itself and fits. Two cases make this more than a lookup:

* While one version takes another's place, answers of both arrive, late ones of the former among them. They are good
  until the former's number may belong to another model: an answer to a clip that was sent after the exchange is not
  attributed to the former.
* After an outage, or a clip that was refused, another model may stand there under the same number. The model is
  *inspected* anew, which forgets every description before.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pipeline.scoring.ignoring import without
from pipeline.scoring.served_model import ServedModel
from pipeline.windows import ClipSpec, ClipWindow


class Versions:
    """The versions of one served model that have described themselves.

    Args:
        clip: the clips that are handed in for it.
        fits: called with each version that is to score; raises :class:`ClipMismatch` on one that cannot be used.
        heat, features: ask for HEAT, FEATURES where the model has it.

    Attributes:
        inspected: the model that stands on the server now is known to fit.
    """

    def __init__(
        self, clip: ClipSpec, fits: Callable[[ServedModel], None], *, heat: bool, features: bool = False
    ) -> None:
        self.clip = clip
        self.inspected = False
        self._fits = fits
        self._heat = heat
        self._features = features
        self._current: ServedModel | None = None  # as the answer to the newest question said
        self._current_as_of = float("-inf")  # when that was asked
        self._former: ServedModel | None = None
        self._described: dict[str, ServedModel] = {}  # by version, since the last inspection or exchange; they fit

    @property
    def current(self) -> ServedModel | None:
        """Return the version that scores now; None before the first."""
        return self._current

    @property
    def asks_heat(self) -> bool:
        """Return whether the next clip is sent with a request for HEAT."""
        return self._heat and self._current is not None and self._current.heat is not None

    @property
    def asks_features(self) -> bool:
        """Return whether the next clip is sent with a request for FEATURES."""
        return self._features and self._current is not None and self._current.features is not None

    def scene_of(self, window: ClipWindow) -> npt.NDArray[np.uint8] | None:
        """Return the standing scene that a window is sent with; None where the version that scores reads another kind.

        The model then takes the median of the clip, as it does while a background is not known.
        """
        reads = None if self._current is None else self._current.scene
        return window.scene if reads is not None and window.scene_kind is reads else None

    def mask_of(self, window: ClipWindow) -> npt.NDArray[np.uint8] | None:
        """Return the mask that a window is sent with; None where the version that scores takes none of that size."""
        mask, served = window.mask, self._current
        if mask is None or served is None or not served.takes_mask or served.heat is None:
            return None
        return mask if mask.shape == (served.heat.rows, served.heat.columns) else None

    def pixels_of(self, window: ClipWindow) -> npt.NDArray[np.uint8]:
        """Return the pixels that a window is sent with: without what its mask ignores, where that is not sent."""
        if window.hidden is None or self.mask_of(window) is not None:
            return window.pixels
        return without(window.pixels, window.hidden, self.scene_of(window))

    def misfit(self, window: ClipWindow) -> str:
        """Return the reason for which a window cannot be sent, as one line; empty when it can."""
        expected = (self.clip.frames, self.clip.height, self.clip.width, 3)
        if window.pixels.shape != expected or window.pixels.dtype != np.uint8:
            return f"expected a clip of uint8 {expected}, got {window.pixels.dtype} {window.pixels.shape}"
        scene = window.scene
        if scene is not None and (scene.shape != expected[1:] or scene.dtype != np.uint8):
            return f"expected a scene of uint8 {expected[1:]}, got {scene.dtype} {scene.shape}"
        return ""

    def require(self, served: ServedModel) -> None:
        """Check that a version takes our clips and can be used.

        Raises:
            ClipMismatch: it was trained with other clips, or ``fits`` refuses it. One line.
        """
        served.require(self.clip)
        self._fits(served)

    def inspect(self, served: ServedModel, *, asked_at: float) -> bool:
        """Record the model that stands on the server, asked at ``asked_at``; return whether another scores from now on.

        Descriptions before this one are forgotten: those versions may be gone, and their numbers used again.
        """
        self._described = {served.version: served}
        self.inspected = True
        return self.scored_by(served, sent_at=asked_at)

    def describe(self, served: ServedModel) -> None:
        """Record the description of a version that has answered for the first time, and fits."""
        self._described[served.version] = served

    def find(self, version: str, *, sent_at: float) -> ServedModel | None:
        """Return the description of a version that answered a clip sent at ``sent_at``; None when it must be asked."""
        former = self._former
        if version not in self._described and former is not None and former.version == version:
            return former if sent_at < self._current_as_of else None
        return self._described.get(version)

    def scored_by(self, served: ServedModel, *, sent_at: float) -> bool:
        """Record which version answered a question of ``sent_at``; return whether another scores from now on.

        A late answer of the former version changes nothing.
        """
        if sent_at < self._current_as_of:
            return False
        self._current_as_of = sent_at
        before, self._current = self._current, served
        if before is None or before == served:
            return False
        self._former, self._described = before, {served.version: served}
        return True
