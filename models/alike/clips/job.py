"""The job that learns an embedding of clips from films, without labels.

    views ─► head ─► product
    views ─► scratch            where the backbone is trained from scratch

Each stage (:mod:`models.jobs.stages`) is a folder of the run, made again when something that it depends on has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.alike.clips import head, product, scratch, stretches
from models.alike.clips.films import FilmSet
from models.alike.clips.recipe import ClipRecipe
from models.alike.served.card import EmbeddingCard, read_embedding_card
from models.code import code_digest
from models.jobs.stages import Done, Stages

Progress = Callable[[str, int, int], None]  #: (stage, parts done, total)


@dataclass(frozen=True, slots=True)
class ClipOutcome:
    """The result of a job.

    Attributes:
        product: its folder.
        card: None where the backbone was trained from scratch: such an embedding cannot be served.
    """

    product: Path
    card: EmbeddingCard | None


def train_on_clips(
    films: FilmSet,
    recipe: ClipRecipe,
    out: Path,
    *,
    seed: int = 0,
    report: Callable[[str], None] = lambda _line: None,
    progress: Progress = lambda *_: None,
) -> ClipOutcome:
    """Run the job, as far as it is not up to date.

    Args:
        out: the run's folder; made when missing.
        report: called with a line for each stage.

    Raises:
        TrainingError: a film cannot be read, too few stretches, a loss that is not finite, or a damaged checkpoint.
        StageError: another job is running in ``out``, or a folder there is not of a stage.
        OSError: ``out`` cannot be written.
    """
    stages = Stages(out, report=report)
    settings = recipe.model_dump(mode="json")
    del settings["contrast"]["optimisation"]["workers"]  # the result does not depend on them

    def run(name: str, module: str, inputs: dict[str, Any], work: Callable[[Path], object]) -> Done:
        key = {"code": code_digest([module]), "seed": seed, **inputs}
        return stages.run(name, key, lambda draft: void(work(draft)))

    with stages.alone():
        first = run(
            "views",
            stretches.__name__,
            {
                "films": list(films.contents),
                "every_frames": recipe.films.every_frames,
                **{key: settings[key] for key in ("clip", "weights", "backbone", "layers", "views")},
            },
            lambda draft: stretches.compute(
                draft, films, recipe, seed, lambda done, total: progress("views", done, total)
            ),
        )
        views, film = stretches.read(first.folder)
        epochs = recipe.contrast.optimisation.epochs
        if recipe.weights == "none":
            alone = run(
                "scratch",
                scratch.__name__,
                {"views": first.digest, "recipe": settings},
                lambda draft: scratch.compute(
                    draft, views, recipe, seed, lambda done: progress("scratch", done, epochs)
                ),
            )
            return ClipOutcome(alone.folder, None)
        second = run(
            "head",
            head.__name__,
            {"views": first.digest, "head": settings["head"], "contrast": settings["contrast"]},
            lambda draft: head.compute(
                draft, views, recipe.head, recipe.contrast, seed, lambda done: progress("head", done, epochs)
            ),
        )
        last = run(
            "product",
            product.__name__,
            {"views": first.digest, "head": second.digest, "recipe": settings},
            lambda draft: product.compute(draft, second.folder, views, film, films, recipe, seed),
        )
    return ClipOutcome(last.folder, read_embedding_card(last.folder))


def void(_result: object) -> None:
    """Take a result that is not needed."""
