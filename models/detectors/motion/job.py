"""The job that learns a motion detector: from one camera's normal footage to a product that can be served.

    gap ─► speeds ─► product

Each stage (:mod:`models.jobs.stages`) is a folder of the run, made again when something that it depends on has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.card import read_card
from models.code import code_digest
from models.data.normal_footage import NormalFootage
from models.detectors.motion.card import MotionCard
from models.detectors.motion.recipe import MotionRecipe
from models.detectors.motion.stages import gap, product, speeds
from models.jobs.rows import read_json
from models.jobs.stages import Done, Stages
from pipeline.printable import storable

Progress = Callable[[str, int, int], None]  #: (stage, seconds of the footage done, total)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a job.

    Attributes:
        product: folder of the model.
        moments: the strangest moments of the footage, the strangest first; see
            :mod:`models.detectors.motion.stages.product`.
    """

    product: Path
    card: MotionCard
    moments: list[dict[str, Any]]


def learn_motion(
    footage: NormalFootage,
    recipe: MotionRecipe,
    out: Path,
    *,
    report: Callable[[str], None] = lambda _line: None,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Run the job, as far as it is not up to date.

    Args:
        out: the run's folder; made when missing.

    Raises:
        FootageError: the footage cannot be learned from.
        SourceError: a film cannot be read.
        StageError: another job is running in ``out``.
        OSError: ``out`` cannot be written.
    """
    stages = Stages(out, report=report)
    total = max(1, round(footage.seconds))

    def run(name: str, inputs: dict[str, Any], work: Callable[[Path], None]) -> Done:
        code = code_digest([f"{gap.__package__}.{name}"])
        return stages.run(name, {"code": code, "recipe": recipe.model_dump(mode="json"), **inputs}, work)

    def seconds_of(stage: str) -> Callable[[float], None]:
        return lambda seconds: progress(stage, min(round(seconds), total), total)

    with stages.alone():
        first = run(
            "gap",
            {"footage": footage.identity},
            lambda draft: gap.compute(draft, footage, recipe, seconds_of("gap"), report),
        )
        chosen = gap.read(first.folder)
        clip = recipe.clip(footage, chosen["gap"])
        second = run(
            "speeds",
            {"footage": footage.identity, "gap": first.digest},
            lambda draft: speeds.compute(draft, footage, clip, seconds_of("speeds")),
        )
        third = run(
            "product",
            {
                "camera": footage.camera,
                "films": [storable(str(film.path)) for film in footage.films],
                "gap": first.digest,
                "speeds": second.digest,
            },
            lambda draft: product.compute(draft, footage, recipe, clip, chosen, speeds.read(second.folder)),
        )
    moments = read_json(third.folder / product.MOMENTS_FILE)
    return Outcome(third.folder, read_card(third.folder, MotionCard), moments)
