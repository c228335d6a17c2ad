"""A detector of one camera that is updated: its run's folder, read and checked before footage is added to it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from models.card import CameraCard, CardError
from models.data.kept_clips import KeptClips, learnings_of, read_kept
from models.data.normal_footage import FootageError, NormalFootage
from models.detectors.base import BelongsTo, Family, LearnsFrom, read_detector
from models.jobs.errors import StageError
from models.jobs.learning import KEPT, PRODUCT, RECIPE_FILE, product_before
from models.jobs.recipes import read_recipe
from models.jobs.stages import completed, put_back


@dataclass(frozen=True, slots=True)
class Learned:
    """The detector in a run's folder.

    Attributes:
        recipe: with which it was learned.
        learnings: the footage of each learning so far.
        out: the run's folder.
    """

    family: Family[Any]
    card: CameraCard[Any]
    recipe: BaseModel
    learnings: list[dict[str, Any]]
    out: Path

    def with_added(self, footage: NormalFootage) -> NormalFootage:
        """Return further footage of the camera, with what the detector has learned as its earlier part.

        Footage with all films of the last update can be added again, with the same stretches left out or with others.
        Its earlier part is then the same. So a call on films that was killed at its end can be run again.

        Raises:
            FootageError: the footage is of another camera, of pictures of another size or rate, or was learned already.
            StageError: the clips of the earlier footage are missing.
        """
        self.check_camera(footage.camera)
        kept = self._kept_before_last() if self._is_last(footage) else self.kept()
        for film in footage.films:
            if film.content in kept.films:
                raise FootageError(f"{film.path}: already learned; expected films that are new to the detector")
            if (film.height, film.width) != (kept.height, kept.width):
                raise FootageError(
                    f"{film.path}: pictures of {film.width}×{film.height}, and those learned before have "
                    f"{kept.width}×{kept.height}; expected one size; learn all footage of this size into another folder"
                )
        assert kept.clip.fps is not None
        footage.check_rate(kept.clip.fps)
        return dataclasses.replace(footage, earlier=kept)

    def check_camera(self, camera: str) -> None:
        """Check that footage of a camera can be added. Raises FootageError: it is another one."""
        if camera != self.card.camera:
            raise FootageError(
                f"camera {camera}: not the camera that the detector has learned; expected {self.card.camera}"
            )

    def kept(self) -> KeptClips:
        """Return the clips that were kept of all learned footage. Raises StageError: they are missing or damaged."""
        return self._read(self.learnings)

    def _kept_before_last(self) -> KeptClips:
        return self._read(self.learnings[:-1])

    def _is_last(self, footage: NormalFootage) -> bool:
        """Return whether it has the films of the last update."""
        last, given = self.learnings[-1], {film.content for film in footage.films}
        return product_before(self.out, len(self.learnings) - 1).exists() and given.issuperset(last["films"])

    def _read(self, learnings: list[dict[str, Any]]) -> KeptClips:
        folder = self.out / KEPT / str(len(learnings))
        instead = "learn the earlier footage again, without --update"
        if (digest := completed(folder)) is None:
            raise StageError(
                f"{folder}: missing or damaged; expected the clips that were kept of the earlier footage; {instead}"
            )
        kept = read_kept(folder, digest)
        if list(kept.learnings) != learnings:
            raise StageError(
                f"{folder}: not the clips of what {self.out / PRODUCT} has learned; run the last update again, or "
                f"{instead}"
            )
        return kept


def read_learned(out: Path) -> Learned:
    """Return the detector in the folder of a run.

    Raises:
        StageError: there is none, or it was not learned from a camera's normal footage.
        MistwatchError: it cannot be loaded.
        OSError: left without its name by a kill, it cannot have it back.
    """
    product = out / PRODUCT
    put_back(product)
    try:
        family, card = read_detector(product)
    except CardError as error:
        raise StageError(f"{out}: holds no detector that can be updated: {error}") from None
    settings = family.settings()
    if (family.learns_from, family.belongs_to) != (LearnsFrom.NORMAL_FOOTAGE, BelongsTo.CAMERA) or settings is None:
        raise StageError(f"{product}: a detector of the family {family.name} cannot be updated; train it again")
    assert isinstance(card, CameraCard), "of a family that belongs to a camera"
    family.load(card, product, lambda _: None)  # to be refused now, and not after the learning
    recipe = read_recipe(settings, product / RECIPE_FILE)
    return Learned(family, card, recipe, learnings_of(card.training["footage"]), out)
