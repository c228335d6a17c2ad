"""The program of a student–teacher detector: from the frames of a clip to a score and its place.

This file is copied into exported version folders, where its imports are made relative.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from models.data.flow import DenseFlow
from models.detectors.student_teacher.strangeness import NormalMaps, RawMaps
from models.engines.one_by_one import Network
from operators.cells import clips_and_mask, judged
from operators.motion import cell_speeds
from operators.rarity import Rarity

#: The networks of the program: pictures → descriptors, and both → maps.
TEACHER, STUDENTS = "teacher", "students"
PICTURE, DESCRIPTORS = "PICTURE", "DESCRIPTORS"


def open_program(arrays: Mapping[str, npt.NDArray[Any]], networks: Mapping[str, Network]) -> StudentTeacherScorer:
    """Return the scorer of what was learned. Raises KeyError or ValueError: arrays are missing or cannot be."""
    return StudentTeacherScorer(
        ClipMaps(networks[TEACHER], networks[STUDENTS]),
        NormalMaps(arrays["centre"], arrays["spread"], arrays["weights"], arrays["units"]),
        Rarity.from_arrays(arrays),
    )


class ClipMaps:
    """Computes the maps of clips. One thread at a time may use it.

    Args:
        teacher, students: opened; see :data:`TEACHER`, :data:`STUDENTS`.
    """

    def __init__(self, teacher: Network, students: Network) -> None:
        self.name = students.name
        self._teacher = teacher
        self._students = students
        self._flow = DenseFlow()

    def of(self, clips: npt.NDArray[np.uint8]) -> tuple[RawMaps, npt.NDArray[np.float32]]:
        """Return the maps of the last picture of each clip, and the teachers' mean descriptors.

        Args:
            clips: uint8 (N, T, H, W, 3) RGB; with speed, things move from the first picture to the last one.
        """
        pictures = np.ascontiguousarray(clips[:, -1])
        described = self._teacher.run({PICTURE: pictures})[DESCRIPTORS]
        found = self._students.run({PICTURE: pictures, DESCRIPTORS: described})
        faster = None
        if "SPEEDS" in found:
            speeds = np.stack([cell_speeds(self._flow.between(clip[0], clip[-1]))[0] for clip in clips])
            faster = np.maximum(speeds - found["SPEEDS"], 0)
        return RawMaps(found["ERRORS"], found["VARIANCES"], faster), found["DESCRIBED"]


class StudentTeacherScorer:
    """Scores clips by how far students are from their teacher. One thread at a time may use it."""

    def __init__(self, maps: ClipMaps, normal: NormalMaps, rarity: Rarity) -> None:
        self.name = maps.name
        self._maps = maps
        self._normal = normal
        self.rarity = rarity

    def run(self, values: npt.NDArray[np.uint8] | Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
        """See :class:`models.detectors.program.Scorer`."""
        clips, mask = clips_and_mask(values)
        return judged(*self.measure(clips), self.rarity, mask)

    def measure(self, clips: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """See :class:`models.detectors.program.CellScorer`.

        The values are spreads of the maps. FEATURES is the teachers' mean descriptors, normalised.
        """
        maps, features = self._maps.of(clips)
        return self._normal.strangeness(maps), features
