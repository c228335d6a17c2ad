"""The job that learns an embedding and clusters of pictures, without labels.

    pretext ─► bank ─► clustering ─► self_labels ─► product

Each stage (:mod:`models.jobs.stages`) is a folder of the run, made again when something that it depends on has changed.
Labels, where the pictures have any, are read for figures. No weight and no choice depends on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.alike.bank import Bank
from models.alike.card import CARD_FILE, AlikeCard
from models.alike.pictures.picture_set import PictureData
from models.alike.recipe import AlikeRecipe
from models.alike.stages import bank, clustering, pretext, product, self_labels
from models.card import read_card_file
from models.code import code_digest
from models.jobs.errors import TrainingError
from models.jobs.stages import Done, Stages

Progress = Callable[[str, int, int], None]  #: (stage, epochs done, total)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a job.

    Attributes:
        product: its folder.
    """

    product: Path
    card: AlikeCard


def train_simclr(
    data: PictureData,
    recipe: AlikeRecipe,
    out: Path,
    *,
    seed: int = 0,
    report: Callable[[str], None] = lambda _line: None,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Run the job, as far as it is not up to date.

    Args:
        out: the run's folder; made when missing.
        report: called with a line for each stage.

    Raises:
        TrainingError: too few pictures for the recipe, a loss that is not finite, or a damaged checkpoint.
        StageError: another job is running in ``out``, or a folder there is not of a stage.
        OSError: ``out`` cannot be written.
    """
    _check(data, recipe)
    stages = Stages(out, report=report)
    with stages.alone():
        return _Job(data, recipe, stages, seed, progress).run()


class _Job:
    """The stages of one job."""

    def __init__(self, data: PictureData, recipe: AlikeRecipe, stages: Stages, seed: int, progress: Progress) -> None:
        self._data, self._recipe, self._stages, self._seed = data, recipe, stages, seed
        self._progress = progress
        self._settings = recipe.model_dump(mode="json")
        for part in ("contrast", "clustering", "self_labels"):
            del self._settings[part]["optimisation"]["workers"]  # the result does not depend on them
        unlabelled = data.unlabelled.digest if data.unlabelled else None
        self._digests = [data.learned.digest, data.judged.digest, unlabelled]

    def run(self) -> Outcome:
        data, recipe, channels = self._data, self._recipe, self._data.size[2]
        first = self._run(
            "pretext",
            {"data": self._digests, **self._parts("encoder", "weak", "contrast", "views_together", "watch_every")},
            lambda draft: pretext.compute(draft, data, recipe, self._seed, self._shown("pretext")),
        )
        embedding, learned = pretext.read(first.folder, recipe, channels)
        choice = {key: self._settings["clustering"][key] for key in ("clusters", "neighbours")}
        second = self._run(
            "bank",
            {"pretext": first.digest, "data": self._digests, "recipe": choice},
            lambda draft: bank.compute(draft, embedding, data, recipe.clustering, self._seed),
        )
        neighbours, about = bank.read(second.folder)
        third = self._run(
            "clustering",
            {
                "bank": second.digest,
                "pretext": first.digest,
                **self._parts("strong", "clustering", "views_together", "watch_every"),
            },
            lambda draft: clustering.compute(
                draft, embedding, neighbours, about["clusters"], data, recipe, self._seed, self._shown("clustering")
            ),
        )
        fourth = self._run(
            "self_labels",
            {"clustering": third.digest, **self._parts("strong", "self_labels", "views_together", "watch_every")},
            lambda draft: self_labels.compute(
                draft,
                clustering.read(third.folder, recipe, channels)[0],
                data,
                recipe,
                self._seed,
                self._shown("self_labels"),
            ),
        )

        def write_product(draft: Path) -> None:
            clustered, grouped = clustering.read(third.folder, recipe, channels)
            labelled, refined = clustering.read(fourth.folder, recipe, channels)
            histories = {"pretext": learned, "clustering": grouped, "self_labels": refined}
            results = product.Learned(embedding, Bank.load(second.folder), about, clustered, labelled, histories)
            product.compute(draft, results, data, recipe, self._seed)

        done = [first, second, third, fourth]
        last = self._run(
            "product",
            {"stages": [one.digest for one in done], "data": [self._data.name, self._data.classes], **self._whole()},
            write_product,
        )
        return Outcome(last.folder, read_card_file(last.folder / CARD_FILE, AlikeCard))

    def _parts(self, *names: str) -> dict[str, Any]:
        return {"recipe": {name: self._settings[name] for name in names}}

    def _whole(self) -> dict[str, Any]:
        return {"recipe": self._settings}

    def _shown(self, stage: str) -> Callable[[int], None]:
        part = {"pretext": self._recipe.contrast}.get(stage) or getattr(self._recipe, stage)
        total = part.optimisation.epochs
        return lambda done: self._progress(stage, done, total)

    def _run(self, name: str, inputs: dict[str, Any], work: Callable[[Path], None]) -> Done:
        module = f"models.alike.stages.{name}"
        return self._stages.run(name, {"code": code_digest([module]), "seed": self._seed, **inputs}, work)


def _check(data: PictureData, recipe: AlikeRecipe) -> None:
    """Check the needs of later stages before hours are spent on the first one.

    Raises:
        TrainingError: there are too few pictures.
    """
    number, needed = len(data.learned), recipe.clustering.neighbours + 1
    if number < needed:
        raise TrainingError(
            f"{data.name}: {number} pictures to learn from are too few for {needed - 1} neighbours of each; expected "
            f"at least {needed}: lower clustering.neighbours, or add pictures"
        )
    clusters = recipe.clustering.clusters
    most = clusters if isinstance(clusters, int) else max(clusters)
    if number <= most:
        raise TrainingError(f"{data.name}: {number} pictures to learn from are too few for {most} clusters")
