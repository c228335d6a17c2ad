"""The job that learns a memory bank: from one camera's normal footage to a product that can be served.

    sample ─► bank ─► distances ─► product

Each stage (:mod:`models.jobs.stages`) is a folder of the run, made again when something that it depends on has changed.
"""

from __future__ import annotations

from pathlib import Path

from models.backbones import weights
from models.backbones.efficientnet_lite0 import NAME
from models.data.cell_values import read_cell_values
from models.data.normal_footage import NormalFootage
from models.detectors.memory_bank.card import MemoryBankCard
from models.detectors.memory_bank.recipe import MemoryBankRecipe
from models.detectors.memory_bank.stages import bank, distances, product, sample
from models.jobs.learning import LearningJob, Outcome, Progress, Report

#: The settings that each stage depends on.
_OF_DESCRIPTORS = ("height", "least_fps", "layers", "enlarge", "grid")
_OF_SAMPLE = (*_OF_DESCRIPTORS, "sample")
_OF_BANK = ("distance", "bank", "trimmed")


def learn_memory_bank(
    footage: NormalFootage,
    out: Path,
    *,
    recipe: MemoryBankRecipe | None = None,
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
        StageError: another job is running in ``out``, or its product would be lost.
        OSError: ``out`` cannot be written.
    """
    settings = recipe or MemoryBankRecipe()
    settings.clip(footage)  # refused before anything is fetched
    weights.fetch_with_progress(NAME, report)
    job = LearningJob(
        MemoryBankCard, footage, settings, str(sample.__package__), out, report=report, progress=progress, keep=keep
    )
    seen = {"footage": footage.identity, "backbone": weights.published(NAME).tensors_sha256}
    with job.alone():
        first = job.run(
            "sample",
            seen,
            lambda draft, done: sample.compute(draft, footage, settings, done, report),
            settings=_OF_SAMPLE,
        )
        second = job.run(
            "bank",
            {"sample": first.digest},
            lambda draft, _: bank.compute(draft, settings, sample.read(first.folder)),
            settings=_OF_BANK,
        )
        normality = bank.read(second.folder)
        third = job.run(
            "distances",
            {**seen, "bank": second.digest},
            lambda draft, done: distances.compute(draft, footage, settings, normality, done),
            settings=_OF_DESCRIPTORS,
        )
        return job.finish(
            settings.clip(footage),
            {"bank": second.digest, "distances": third.digest},
            lambda draft: product.compute(draft, footage, settings, normality, read_cell_values(third.folder)),
        )
