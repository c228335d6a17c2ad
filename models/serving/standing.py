"""Results of a network over standing scenes, computed once for each scene.

This file is copied into every exported version folder, where its imports are made relative.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.serving.contract import check_scene
from operators.median import median_picture

#: Size of the results that are kept, bytes: those of 20 scenes where they are the early and the late map (3 MB for
#: 16 × 224 × 224), of thousands where they are pooled features.
ROOM = 64 * 2**20

OfScene = Mapping[str, npt.NDArray[np.float32]]  #: the network's outputs for N scenes: (N, ...) by their names


class OverScenes(Protocol):
    """A network over standing scenes. One thread at a time may use it."""

    def run(self, pictures: npt.NDArray[np.uint8]) -> OfScene:
        """uint8 (N, H, W, 3) → each output by its name, (N, ...)."""
        ...


class StandingScenes:
    """Computes scenes one by one, so that none depends on its batch, and keeps the results of the last ones.

    A scene is recognised by a hash of its bytes, which costs 0.1 ms at 224 × 224. When the room is full, the
    results of the least recently used scenes are dropped. The median of a clip without a scene is not kept, because the
    next clip has another one.

    Args:
        network: computes them.
        room: bytes of results that are kept; those of the last scene are kept in any case.
    """

    def __init__(self, network: OverScenes, *, room: int = ROOM) -> None:
        self._network = network
        self._room = room
        self._kept: OrderedDict[bytes, OfScene] = OrderedDict()  # by the scene's hash, least recently used first
        self._filled = 0  # bytes

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
            self._compute(median_picture(clip)) if scene is None else self._of(scene)
            for clip, scene in zip(clips, scenes, strict=True)
        ]
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}

    def _of(self, scene: npt.NDArray[np.uint8]) -> OfScene:
        key = hashlib.blake2b(np.ascontiguousarray(scene).data, digest_size=32).digest()
        if (known := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return known
        computed = self._kept[key] = self._compute(scene)
        self._filled += _size(computed)
        while self._filled > self._room and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._filled -= _size(dropped)
        return computed

    def _compute(self, scene: npt.NDArray[np.uint8]) -> OfScene:
        return self._network.run(scene[np.newaxis])


def _size(of_scene: OfScene) -> int:
    return sum(array.nbytes for array in of_scene.values())
