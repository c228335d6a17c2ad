"""The job that learns a motion detector: from one camera's normal footage to a product that can be served.

    gap ─► speeds ─► product

Each stage (:mod:`models.jobs.stages`) is a folder of the run, made again when something that it depends on has changed.
"""

from __future__ import annotations

from pathlib import Path

from models.data.cell_values import read_cell_values
from models.data.normal_footage import NormalFootage
from models.detectors.motion.card import MotionCard
from models.detectors.motion.recipe import MotionRecipe
from models.detectors.motion.stages import gap, product, speeds
from models.jobs.learning import LearningJob, Outcome, Progress, Report


def learn_motion(
    footage: NormalFootage,
    out: Path,
    *,
    recipe: MotionRecipe | None = None,
    report: Report = lambda _line: None,
    progress: Progress = lambda *_: None,
    keep: bool = False,
) -> Outcome:
    """Run the job, as far as it is not up to date.

    Args:
        out: the run's folder; made when missing.
        recipe: the default one when None.
        keep: whether clips of the footage are kept for an update.

    Raises:
        FootageError: the footage cannot be learned from.
        SourceError: a film cannot be read.
        StageError: another job is running in ``out``, or its product would be lost.
        OSError: ``out`` cannot be written.
    """
    settings = recipe or MotionRecipe()
    job = LearningJob(
        MotionCard, footage, settings, str(gap.__package__), out, report=report, progress=progress, keep=keep
    )
    with job.alone():
        first = job.run(
            "gap",
            {"footage": footage.identity},
            lambda draft, done: gap.compute(draft, footage, settings, done, report),
        )
        chosen = gap.read(first.folder)
        clip = settings.clip(footage, chosen["gap"])
        second = job.run(
            "speeds",
            {"footage": footage.identity, "gap": first.digest},
            lambda draft, done: speeds.compute(draft, footage, clip, done),
        )
        return job.finish(
            clip,
            {"gap": first.digest, "speeds": second.digest},
            lambda draft: product.compute(draft, footage, settings, clip, chosen, read_cell_values(second.folder)),
        )
