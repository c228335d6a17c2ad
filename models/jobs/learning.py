"""Jobs that learn a detector from one camera's normal footage: the frame that all families have in common.

A family's job is a function ``(footage, out, *, recipe, report, progress) -> Outcome``, named by its
:class:`models.detectors.base.Family`. It runs its stages (:class:`LearningJob`); the last one, ``product``, writes the
model (:func:`write_learned`)::

    FAMILY.safetensors     what was learned
    model-card.json        camera, footage, figures, suggested thresholds
    recipe.yaml            the recipe
    moments.json           the strangest moments of all footage, with their heat
"""

from __future__ import annotations

import contextlib
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
from models.data.clip_places import ClipPlaces
from models.data.normal_footage import NormalFootage
from models.jobs.errors import StageError
from models.jobs.moments import MOMENTS_FILE, strangest_moments
from models.jobs.rows import read_json, write_json
from models.jobs.stages import Done, Stages
from models.jobs.thresholds import alerting_of_normal
from pipeline.names import ascii_name
from pipeline.printable import storable
from pipeline.windows import ClipSpec, StoredClip

RECIPE_FILE = "recipe.yaml"
_PRODUCT = "product"  #: the last stage of every family

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
    ) -> None:
        self._kind = kind
        self._out = out
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
            StageError: another job is running in it, or its product is a detector of another family.
        """
        with self._stages.alone():
            self._refuse_other_family()
            yield

    def _refuse_other_family(self) -> None:
        """Raise StageError where a detector of another family would be replaced."""
        product, own = self._out / _PRODUCT, _family_of(self._kind)
        try:
            found = read_card(product).family
        except CardError:
            return  # missing or damaged, so the stage is run again
        if found != own:
            raise StageError(
                f"{product}: would be replaced, and is a detector of another family (got {found}); expected {own}; "
                "choose another folder for the run, or move this one away"
            )

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

        def done(seconds: float) -> None:
            self._progress(name, min(round(seconds), self._total), self._total)

        recipe = {key: self._recipe[key] for key in self._recipe if settings is None or key in settings}
        return self._stages.run(name, {"code": code, "recipe": recipe, **inputs}, lambda draft: work(draft, done))

    def finish(self, inputs: Mapping[str, Any], work: Callable[[Path], None]) -> Outcome:
        """Run the stage ``product``, which also depends on the names of the camera and its films.

        Raises:
            StageError, OSError: see :meth:`models.jobs.stages.Stages.run`.
        """
        done = self.run(_PRODUCT, {**self._names, **inputs}, lambda draft, _: work(draft))
        return Outcome(done.folder, read_card(done.folder, self._kind), read_json(done.folder / MOMENTS_FILE))


def _family_of(kind: type[CameraCard[Any]]) -> str:
    """Return the name of the family that a kind of card belongs to."""
    return str(kind.model_fields["family"].default)


@dataclass(frozen=True, slots=True)
class Judged:
    """Findings of a fitted detector in the footage that it was learned from.

    Attributes:
        places: of the clips.
        scores: float64 (n,), of each clip, in [0, 1].
        heat_of: returns the heat of a clip, (h, w) in [0, 1], by its ordinal.
    """

    places: ClipPlaces
    scores: npt.NDArray[np.float64]
    heat_of: Callable[[int], npt.NDArray[np.floating]]


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
    """Write all of the product but the weights. The thresholds come from what is held back.

    Args:
        clip: as the detector takes them.
        kernel: of the causal moving average, clips.
        training: the family's part of the card's ``training``.
        own: further parts of the card: ``description``, ``architecture``, ``weights_sha256``, ...

    Raises:
        OSError: the folder cannot be written.
    """
    places = judged.places
    alerting, reached = alerting_of_normal(places.held_back_runs(judged.scores), kernel)
    (folder / RECIPE_FILE).write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    write_json(folder / MOMENTS_FILE, strangest_moments(footage, places, judged.scores, judged.heat_of))
    period = 1 / (clip.fps or 1)
    card = kind(
        name=ascii_name(footage.camera) + f"-{_family_of(kind).replace('_', '-')}",
        camera=footage.camera,
        clip=StoredClip.from_spec(clip),
        alerting=alerting,
        training={
            "footage": footage.identity,
            "learned_seconds": round(float((~places.held_back).sum() * period), 1),
            "held_back_seconds": round(float(places.held_back.sum() * period), 1),
            **training,
        },
        figures={"held_back": {"clips": int(places.held_back.sum()), **reached}},
        **own,
    )
    write_card(card, folder)
    return card
