"""The job that learns an outlier detector: from one camera's normal footage to a product that can be served.

    sample ─► fit ─► values ─► product

Each stage (:mod:`models.jobs.stages`) is a folder of the run, made again when something that it depends on has changed.
"""

from __future__ import annotations

from pathlib import Path

from models.backbones import weights
from models.data.cell_values import read_cell_values
from models.data.normal_footage import NormalFootage
from models.detectors.outlier.card import OutlierCard
from models.detectors.outlier.recipe import OutlierRecipe
from models.detectors.outlier.stages import fit, product, sample, values
from models.jobs.learning import LearningJob, Outcome, Progress, Report

#: The settings that each stage depends on.
_OF_DESCRIPTORS = ("features", "backbone", "height", "least_fps", "layers", "enlarge", "grid")
_OF_SAMPLE = (*_OF_DESCRIPTORS, "sample")
_OF_FIT = (
    "estimator",
    "mode",
    "contamination",
    "covered",
    "features",
    "variance",
    "neighbours",
    "trees",
    "rows_of_tree",
    "nu",
    "gamma",
)


def learn_outlier(
    footage: NormalFootage,
    out: Path,
    *,
    recipe: OutlierRecipe | None = None,
    report: Report = lambda _line: None,
    progress: Progress = lambda *_: None,
    keep: bool = False,
) -> Outcome:
    """Run the job, as far as it is not up to date. Missing weights of the backbone are fetched.

    Args:
        out: the run's folder; made when missing.
        recipe: the default one when None.
        keep: whether clips of the footage are kept for an update.

    Raises:
        FootageError: the footage cannot be learned from.
        SourceError: a film cannot be read.
        WeightsError: the backbone's weights cannot be fetched.
        EstimatorError: this version of scikit-learn differs in what is read from its estimators.
        StageError: another job is running in ``out``, or its product would be lost.
        OSError: ``out`` cannot be written.
    """
    settings = recipe or OutlierRecipe()
    settings.clip(footage)  # refused before anything is fetched
    weights.fetch_with_progress(settings.backbone, report)
    job = LearningJob(
        OutlierCard, footage, settings, str(sample.__package__), out, report=report, progress=progress, keep=keep
    )
    seen = {"footage": footage.identity, "backbone": weights.published(settings.backbone).tensors_sha256}
    with job.alone():
        first = job.run(
            "sample",
            seen,
            lambda draft, done: sample.compute(draft, footage, settings, done, report),
            settings=_OF_SAMPLE,
        )
        second = job.run(
            "fit",
            {"sample": first.digest},
            lambda draft, _: fit.compute(draft, settings, sample.read(first.folder)),
            settings=_OF_FIT,
        )
        judge, about = fit.read(second.folder, settings)
        third = job.run(
            "values",
            {**seen, "fit": second.digest},
            lambda draft, done: values.compute(draft, footage, settings, judge, done),
            settings=_OF_DESCRIPTORS,
        )
        return job.finish(
            settings.clip(footage),
            {"fit": second.digest, "values": third.digest},
            lambda draft: product.compute(draft, footage, settings, judge, about, read_cell_values(third.folder)),
        )
