"""Results of a network over standing scenes, computed once for each scene.

This file is copied into every exported version folder, where its imports are made relative.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.serving.contract import check_scene
from models.serving.kept import KeptResults, OverItems
from operators.median import median_picture

#: Size of the results that are kept, bytes: those of 20 scenes where they are the early and the late map (3 MB for
#: 16 × 224 × 224), of thousands where they are pooled features.
ROOM = 64 * 2**20


class StandingScenes:
    """The results of the last scenes, kept; see :class:`models.serving.kept.KeptResults`.

    The median of a clip without a scene is not kept, because the next clip has another one.

    Args:
        network: computes scenes, uint8 (N, H, W, 3).
        room: bytes of results that are kept; those of the last scene are kept in any case.
    """

    def __init__(self, network: OverItems, *, room: int = ROOM) -> None:
        self._kept = KeptResults(network, room=room)

    def of_clips(
        self, clips: npt.NDArray[np.uint8], scenes: Sequence[npt.NDArray[np.uint8] | None]
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Return the network's outputs for the scene of each of N clips, (N, ...) by their names.

        Args:
            clips: uint8 (N, T, H, W, 3).
            scenes: uint8 (H, W, 3) for each clip; None takes the median of the clip.

        Raises:
            ValueError: another number of scenes than of clips, or a scene of another shape or type.
        """
        if len(scenes) != len(clips):
            raise ValueError(f"expected a scene or None for each of {len(clips)} clips, got {len(scenes)}")
        for scene in scenes:
            if scene is not None:
                check_scene(scene, clips.shape[2:])
        found = [
            self._kept.compute(median_picture(clip)) if scene is None else self._kept.of(scene)
            for clip, scene in zip(clips, scenes, strict=True)
        ]
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}
