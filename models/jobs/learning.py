"""Jobs that learn a detector from one camera's normal footage: the frame that all families have in common.

A family's job is a function ``(footage, out, *, recipe, report, progress) -> Outcome``, named by its
:class:`models.detectors.base.Family`. It runs its stages (:class:`LearningJob`); the last one, ``product``, writes the
model (:func:`write_learned`)::

    FAMILY.safetensors     what was learned
    model-card.json        camera, footage, figures, suggested thresholds
    recipe.yaml            the recipe
    moments.json           the strangest moments of the footage, with their heat
    changes.json           after an update: what each update has changed (:mod:`models.jobs.changes`)

Where the job keeps clips for an update, the stage ``kept/N`` of the N-th learning writes them before
(:mod:`models.data.kept_clips`). So a product always has clips of all its footage beside it. Those of the
learning before stay, with its product (``kept/N-product``), so that the last one can be run again with other options.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import BaseModel

from models.card import CameraCard, CardError, read_card, write_card
from models.code import code_digest
from models.data import kept_clips
from models.data.camera_clips import clips_to_keep
from models.data.clip_places import ClipPlaces
from models.data.kept_clips import learnings_of, read_kept, write_kept
from models.data.normal_footage import NormalFootage
from models.jobs import changes
from models.jobs.changes import write_changes
from models.jobs.errors import StageError
from models.jobs.moments import MOMENTS_FILE, strangest_moments
from models.jobs.rows import read_json, write_json
from models.jobs.stages import STAGE_FILE, Done, Stages, put_back
from models.jobs.thresholds import alerting_of_normal
from pipeline import files
from pipeline.names import ascii_name
from pipeline.printable import storable
from pipeline.windows import ClipSpec, StoredClip

RECIPE_FILE = "recipe.yaml"
PRODUCT = "product"  #: the last stage of every family
KEPT = "kept"  #: folder of the stages with the clips that are kept for an update
_KEPT = re.compile(r"\d+(-product)?")  #: names in it
_DRAFT = re.compile(r"\.\d+\.[0-9a-f]{16}|\d+-product\..+\.tmp")  #: and those of their drafts

Report = Callable[[str], None]  #: called with a line for each stage, and for each film that is not quite in order
Progress = Callable[[str, int, int], None]  #: (stage, seconds of the footage done, total)
Seconds = Callable[[float], None]  #: called by a stage with the seconds of the footage that are done

Kind = TypeVar("Kind", bound=CameraCard[Any])


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a job.

    Attributes:
        product: folder of the model.
        moments: the strangest moments of the footage, the strangest first; see :mod:`models.jobs.moments`.
    """

    product: Path
    card: CameraCard[Any]
    moments: list[dict[str, Any]]


class LearningJob:
    """The stages of one job, which depend on their code and on the recipe beside their own inputs.

    Args:
        kind: the family's card.
        stages: package of the stages' modules, each with the name of its stage.
        out: the run's folder; made when missing.
        keep: whether clips of the footage are kept for an update.
    """

    def __init__(
        self,
        kind: type[CameraCard[Any]],
        footage: NormalFootage,
        recipe: BaseModel,
        stages: str,
        out: Path,
        *,
        report: Report,
        progress: Progress,
        keep: bool = False,
    ) -> None:
        self._kind = kind
        self._footage = footage
        self._out = out
        self._keep = keep
        self._report = report
        self._recipe = recipe.model_dump(mode="json")
        self._package = stages
        self._stages = Stages(out, report=report)
        self._progress = progress
        self._total = max(1, round(footage.seconds))
        self._names = {
            "camera": footage.camera,
            "films": [storable(str(film.path)) for film in footage.films],
        }

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other jobs out of the run's folder.

        Raises:
            StageError: another job is running in it, its product is a detector of another family, or the product has
                learned further footage that this job would forget.
        """
        with self._stages.alone():
            refuse_to_replace(self._out, _family_of(self._kind), update=self._footage.earlier is not None)
            self._refuse_to_forget()
            yield

    def _refuse_to_forget(self) -> None:
        """Raise StageError where another update was completed since this one's earlier part was read."""
        if (earlier := self._footage.earlier) is None:
            return
        product = self._out / PRODUCT
        try:
            *before, last = learnings_of(read_card(product).training["footage"])
        except CardError:
            return  # missing or damaged: a member's
        own = {film.content for film in self._footage.films}
        again = before == list(earlier.learnings) and own.issuperset(last["films"])
        if not (again or [*before, last] == list(earlier.learnings)):
            raise StageError(f"{product}: has learned other footage since this update began; run the update again")

    def run(
        self,
        name: str,
        inputs: Mapping[str, Any],
        work: Callable[[Path, Seconds], None],
        *,
        settings: Collection[str] | None = None,
    ) -> Done:
        """Run a stage, as far as it is not up to date.

        Args:
            inputs: what its result depends on beside code and recipe; plain JSON.
            settings: those of the recipe that matter to it; all when None.
            work: writes the result into a folder, and reports its progress.

        Raises:
            StageError, OSError: see :meth:`models.jobs.stages.Stages.run`.
        """
        code = code_digest([f"{self._package}.{name}"])
        recipe = {key: self._recipe[key] for key in self._recipe if settings is None or key in settings}
        inputs = {"code": code, "recipe": recipe, **inputs}
        return self._stages.run(name, inputs, lambda draft: work(draft, self._seconds(name)))

    def _seconds(self, stage: str) -> Seconds:
        """Return the callback for the progress of a stage."""
        return lambda seconds: self._progress(stage, min(round(seconds), self._total), self._total)

    def finish(self, clip: ClipSpec, inputs: Mapping[str, Any], work: Callable[[Path], None]) -> Outcome:
        """Run the stage ``product``, which also depends on the names of the camera and its films.

        Args:
            clip: as the detector takes them.

        Raises:
            FootageError, SourceError: a film cannot be used.
            pipeline.errors.MistwatchError: the detector from before the update cannot be used.
            StageError, OSError: see :meth:`models.jobs.stages.Stages.run`.
        """
        inputs = {**self._names, **inputs}
        kept = self._kept(clip) if self._keep else None
        if kept is not None and self._footage.earlier is not None:
            before = self._product_before(len(self._footage.earlier.learnings))
            inputs |= {"changes": code_digest([changes.__name__]), "kept": kept.digest}

            def work_and_compare(draft: Path) -> None:
                work(draft)
                write_changes(before, draft, read_kept(kept.folder, kept.digest), self._report)

            done = self.run(PRODUCT, inputs, lambda draft, _: work_and_compare(draft))
        else:
            done = self.run(PRODUCT, inputs, lambda draft, _: work(draft))
        if kept is not None:
            self._remove_earlier_kept(kept.folder)
        return Outcome(done.folder, read_card(done.folder, self._kind), read_json(done.folder / MOMENTS_FILE))

    def _kept(self, clip: ClipSpec) -> Done:
        """Run the stage of the clips that are kept."""
        footage, earlier = self._footage, self._footage.earlier
        name = f"{KEPT}/{1 if earlier is None else 1 + len(earlier.learnings)}"
        inputs = {
            "code": code_digest([kept_clips.__name__, clips_to_keep.__module__]),
            "footage": footage.identity,
            "clip": StoredClip.from_spec(clip).model_dump(mode="json"),
        }
        return self._stages.run(
            name,
            inputs,
            lambda draft: write_kept(draft, footage, clip, clips_to_keep(footage, clip), self._seconds(KEPT)),
        )

    def _product_before(self, learnings: int) -> Path:
        """Return a copy of the product of so many learnings, the one before this job's."""
        place, product = product_before(self._out, learnings), self._out / PRODUCT
        if len(learnings_of(read_card(product).training["footage"])) == learnings:
            files.remove_stale_drafts(place.parent)
            draft = files.draft_path(place)
            shutil.copytree(product, draft)
            files.remove(place)
            draft.rename(place)
        return place  # else the product is of this learning, which is run again with other stretches left out

    def _remove_earlier_kept(self, folder: Path) -> None:
        """Remove our own earlier files: all but these clips, the clips before them, and the product before them."""
        before = product_before(self._out, int(folder.name) - 1)
        for other in folder.parent.iterdir():
            ours = _DRAFT.fullmatch(other.name) or (_KEPT.fullmatch(other.name) and (other / STAGE_FILE).exists())
            if ours and other not in (folder, folder.with_name(str(int(folder.name) - 1)), before):
                files.remove(other)


def product_before(out: Path, learnings: int) -> Path:
    """Return the place of the product of so many learnings, in a run's folder that has a later one."""
    return out / KEPT / f"{learnings}-product"


def refuse_to_replace(out: Path, family: str, *, update: bool) -> None:
    """Check that a run in the folder ``out`` would not replace another detector, or one that has learned more.

    Args:
        family: of the run's detector.
        update: whether the run adds footage to what the detector there has learned.

    Raises:
        StageError: there is a detector of another family, or one that has learned further footage than the run's.
        OSError: the detector, left without its name by a kill, cannot have it back.
    """
    product = out / PRODUCT
    put_back(product)
    instead = "choose another folder for the run, or move this one away"
    try:
        card = read_card(product)
    except CardError:
        return  # missing or damaged, so the stage is run again
    if card.family != family:
        raise StageError(
            f"{product}: would be replaced, and is a detector of another family (got {card.family}); "
            f"expected {family}; {instead}"
        )
    if not update and "earlier" in card.training.get("footage", {}):
        raise StageError(
            f"{product}: would be replaced, and has learned further footage by --update; expected --update; {instead}"
        )


def _family_of(kind: type[CameraCard[Any]]) -> str:
    """Return the name of the family that a kind of card belongs to."""
    return str(kind.model_fields["family"].default)


@dataclass(frozen=True, slots=True)
class Judged:
    """Findings of a fitted detector in clips of the footage that it was learned from.

    Attributes:
        places: of the clips.
        scores: float64 (n,), of each clip, in [0, 1].
        heat_of: returns the heat of a clip, (h, w) in [0, 1], by its ordinal; None for a detector without it.
        usual: bool (n,), the clips from which thresholds are found, as far as they are held back; None: all of them.
    """

    places: ClipPlaces
    scores: npt.NDArray[np.float64]
    heat_of: Callable[[int], npt.NDArray[np.floating]] | None
    usual: npt.NDArray[np.bool_] | None = None

    def held_back_runs(self) -> list[npt.NDArray[np.float64]]:
        """Return the scores from which thresholds are found, by unbroken runs; a clip left out is skipped."""
        runs = self.places.held_back_runs(self.scores)
        if self.usual is None:
            return runs
        usual = self.places.held_back_runs(self.usual)
        return [run[chosen] for run, chosen in zip(runs, usual, strict=True) if chosen.any()]

    @property
    def left_out(self) -> int:
        """Number of held-back clips from which no threshold is found."""
        return 0 if self.usual is None else int((~self.usual & self.places.held_back).sum())


def write_learned(
    folder: Path,
    kind: type[Kind],
    footage: NormalFootage,
    recipe: BaseModel,
    clip: ClipSpec,
    judged: Judged,
    *,
    kernel: int,
    training: Mapping[str, Any],
    **own: Any,
) -> Kind:
    """Write all of the product but the weights. The thresholds come from the held-back footage.

    Args:
        clip: as the detector takes them.
        kernel: of the causal moving average, clips.
        training: the family's part of the card's ``training``.
        own: further parts of the card: ``description``, ``architecture``, ``weights_sha256``, ...

    Raises:
        OSError: the folder cannot be written.
    """
    places = judged.places
    alerting, reached = alerting_of_normal(judged.held_back_runs(), kernel)
    (folder / RECIPE_FILE).write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    write_json(folder / MOMENTS_FILE, strangest_moments(footage, places, judged.scores, judged.heat_of))
    learned, held_back = footage.lengths_with_earlier()
    assert clip.fps is not None
    card = kind(
        name=ascii_name(footage.camera) + f"-{_family_of(kind).replace('_', '-')}",
        camera=footage.camera,
        clip=StoredClip.from_spec(clip),
        alerting=alerting,
        training={
            "footage": footage.identity,
            "learned_seconds": round(learned, 1),
            "held_back_seconds": round(held_back, 1),
            **training,
        },
        figures={
            "held_back": {
                "clips": int(places.held_back.sum()) - judged.left_out,
                **({"left_out": judged.left_out} if judged.left_out else {}),
                **reached,
            },
            "judged": {"clips": len(places), "of": round((learned + held_back) * clip.fps / clip.stride)},
        },
        **own,
    )
    write_card(card, folder)
    return card
