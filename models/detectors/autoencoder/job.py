"""The job that learns an autoencoder: from one camera's normal footage to a product that can be served.

    clips ─► network ─► errors ─► product

Each stage (:mod:`models.jobs.stages`) is a folder of the run, made again when something that it depends on has changed.
"""

from __future__ import annotations

from pathlib import Path

from models.data.cell_values import read_cell_values
from models.data.normal_footage import NormalFootage
from models.detectors.autoencoder.card import AutoencoderCard
from models.detectors.autoencoder.recipe import AutoencoderRecipe
from models.detectors.autoencoder.stages import clips, errors, network, product
from models.detectors.autoencoder.weights import program_network
from models.jobs.learning import LearningJob, Outcome, Progress, Report

#: The settings that each stage depends on.
_OF_CLIPS = ("frames", "height", "least_fps")
_OF_NETWORK = ("error", "channels", "code", "trimmed", "steps", "batch", "learning_rate")


def learn_autoencoder(
    footage: NormalFootage,
    out: Path,
    *,
    recipe: AutoencoderRecipe | None = None,
    seed: int = 0,
    report: Report = lambda _line: None,
    progress: Progress = lambda *_: None,
    keep: bool = False,
) -> Outcome:
    """Run the job, as far as it is not up to date.

    Args:
        out: the run's folder; made when missing.
        recipe: the default one when None.
        seed: of the network's first weights, and of the order of the clips.
        keep: whether clips of the footage are kept for an update.

    Raises:
        FootageError: the footage cannot be learned from.
        SourceError: a film cannot be read.
        TrainingError: the training fails.
        StageError: another job is running in ``out``, or its product would be lost.
        OSError: ``out`` cannot be written.
    """
    settings = recipe or AutoencoderRecipe()
    clip = settings.clip(footage)
    job = LearningJob(
        AutoencoderCard, footage, settings, str(clips.__package__), out, report=report, progress=progress, keep=keep
    )
    with job.alone():
        first = job.run(
            "clips",
            {"footage": footage.identity},
            lambda draft, done: clips.compute(draft, footage, settings, done, report),
            settings=(*_OF_CLIPS, "clips"),
        )
        second = job.run(
            "network",
            {"clips": first.digest, "seed": seed},
            lambda draft, _: network.compute(
                draft,
                clips.read(first.folder),
                clip,
                settings,
                seed,
                lambda done: progress("network", done, settings.steps),
            ),
            settings=_OF_NETWORK,
        )
        trained = network.read(second.folder, clip, settings)
        third = job.run(
            "errors",
            {"footage": footage.identity, "network": second.digest},
            lambda draft, done: errors.compute(
                draft, footage, settings, program_network(trained[0], clip).open(), done
            ),
            settings=_OF_CLIPS,
        )
        return job.finish(
            clip,
            {"network": second.digest, "errors": third.digest},
            lambda draft: product.compute(draft, footage, settings, trained, read_cell_values(third.folder)),
        )
