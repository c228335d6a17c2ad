"""The job that trains the autoencoder of handwritten digits, the textbook's example: the most unusual ones by error.

    training ─► product

Each stage (:mod:`models.jobs.stages`) is a folder of the run, made again when something that it depends on has changed.
The product is not a detector of a camera and is not served::

    digits.safetensors   the network
    digits-card.json     sizes, data, recipe, hash, losses
    recipe.yaml          the recipe
    unusual.json         the most unusual digits: rank, index, label, error
    unusual.png          the same as a picture, with what the network makes of them
    unusual.md           a page with both
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict

from models.card import ModelName, write_card_file
from models.code import code_digest
from models.data import digits as digits_module
from models.data.digits import Digits, read_digits
from models.detectors.autoencoder import dense, digits_picture
from models.detectors.autoencoder.dense import DenseAutoencoder
from models.detectors.autoencoder.digits_picture import Unusual, draw_unusual
from models.detectors.autoencoder.digits_recipe import DigitsRecipe
from models.jobs.rows import read_json, write_json
from models.jobs.stages import SCRATCH, Done, Stages
from models.tensors import load_tensors, save_tensors

CARD_FILE, WEIGHTS_FILE, ABOUT_FILE, CHECKPOINT_FILE = "digits-card.json", "digits.safetensors", "about.json", "last.pt"
RECIPE_FILE, LIST_FILE, PICTURE_FILE, PAGE_FILE = "recipe.yaml", "unusual.json", "unusual.png", "unusual.md"

Progress = Callable[[str, int, int], None]  #: (stage, epochs done, total)


class DigitsCard(BaseModel):
    """The card of the network.

    Attributes:
        sizes: of all layers to the code.
        training: data, recipe, seed.
        figures: the loss at the end, and the errors of the digits.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    name: ModelName
    description: str
    sizes: tuple[int, ...]
    weights_sha256: str
    training: dict[str, Any]
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of the job.

    Attributes:
        product: its folder.
        unusual: the most unusual digits, the most unusual first: rank, index, label, error.
    """

    product: Path
    card: DigitsCard
    unusual: list[dict[str, Any]]


def train_digits(
    recipe: DigitsRecipe,
    out: Path,
    *,
    seed: int = 0,
    report: Callable[[str], None] = lambda _line: None,
    progress: Progress = lambda *_: None,
) -> Trained:
    """Run the job, as far as it is not up to date.

    Args:
        out: the run's folder; made when missing.
        report: called with a line for each stage.

    Raises:
        TrainingError: a loss is not finite, or the checkpoint is damaged.
        StageError: another job is running in ``out``, or a folder there is not of a stage.
        OSError: ``out`` cannot be written.
    """
    stages, digits = Stages(out, report=report), read_digits()
    whole = recipe.model_dump(mode="json")
    with stages.alone():
        data = hashlib.sha256(digits.pixels.tobytes() + digits.labels.tobytes()).hexdigest()
        own = {key: whole[key] for key in ("label", "sizes", "epochs", "batch", "learning_rate")}
        trained = stages.run(
            "training",
            {"code": code_digest([dense.__name__, digits_module.__name__]), "data": data, "recipe": own, "seed": seed},
            lambda draft: _train(draft, digits, recipe, seed, lambda done: progress("training", done, recipe.epochs)),
        )
        product = stages.run(
            "product",
            {
                "code": code_digest([__name__, digits_picture.__name__]),
                "training": trained.digest,
                "data": data,
                "recipe": whole,
                "seed": seed,
            },
            lambda draft: _write_product(draft, trained, digits, recipe, seed, data),
        )
    card = DigitsCard.model_validate(read_json(product.folder / CARD_FILE))
    return Trained(product.folder, card, read_json(product.folder / LIST_FILE))


def _train(draft: Path, digits: Digits, recipe: DigitsRecipe, seed: int, progress: Callable[[int], None]) -> None:
    (draft / SCRATCH).mkdir(exist_ok=True)
    network, loss = dense.train_dense(
        digits.items(label=recipe.label),
        recipe.sizes,
        epochs=recipe.epochs,
        batch=recipe.batch,
        learning_rate=recipe.learning_rate,
        seed=seed,
        file=draft / SCRATCH / CHECKPOINT_FILE,
        progress=progress,
    )
    sha256 = save_tensors(network.state_dict(), draft / WEIGHTS_FILE)
    write_json(draft / ABOUT_FILE, {"weights_sha256": sha256, "loss": loss})


def _write_product(draft: Path, trained: Done, digits: Digits, recipe: DigitsRecipe, seed: int, data: str) -> None:
    items = digits.items(label=recipe.label)
    about = read_json(trained.folder / ABOUT_FILE)
    sizes = (items.shape[1], *recipe.sizes)
    network = DenseAutoencoder(sizes)
    state = load_tensors(
        trained.folder / WEIGHTS_FILE, network.state_dict(), network="autoencoder", sha256=about["weights_sha256"]
    )
    network.load_state_dict(state)
    errors, shown = dense.errors(network, items), dense.reconstructed(network, items)
    pixels = digits.pixels.shape[1]
    found = [
        Unusual(int(at), int(digits.labels[at]), float(errors[at]), digits.pixels[at], shown[at, :pixels])
        for at in np.argsort(-errors, kind="stable")[: recipe.unusual]
    ]
    rows = [
        {"rank": rank, "index": one.ordinal, "label": one.label, "error": round(one.error, 6)}
        for rank, one in enumerate(found, 1)
    ]
    save_tensors(state, draft / WEIGHTS_FILE)
    whole = recipe.model_dump(mode="json")
    (draft / RECIPE_FILE).write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
    card = DigitsCard(
        name=recipe.name,
        description=recipe.description,
        sizes=sizes,
        weights_sha256=about["weights_sha256"],
        training={
            "data": {"name": "scikit-learn's digits", "number": len(items), "sha256": data},
            "recipe": whole,
            "seed": seed,
        },
        figures={"loss": round(about["loss"], 6), "median_error": round(float(np.median(errors)), 6)},
    )
    write_card_file(card, draft / CARD_FILE)
    write_json(draft / LIST_FILE, rows)
    draw_unusual(draft / PICTURE_FILE, found)
    (draft / PAGE_FILE).write_text(_page(card, rows), encoding="utf-8")


def _page(card: DigitsCard, rows: list[dict[str, Any]]) -> str:
    """Return the list as Markdown."""
    lines = [
        f"# {card.name}: the most unusual digits",
        "",
        f"These {len(rows)} of {card.training['data']['number']} digits are reconstructed worst. The error is the mean "
        f"squared one of a digit's {card.sizes[0]} values in 0 to 1. Its median over all digits is "
        f"{card.figures['median_error']:.4f}.",
        "",
        f"![Each digit beside its reconstruction]({PICTURE_FILE})",
        "",
        "| rank | index | label | error |",
        "|--:|--:|--:|--:|",
        *(f"| {one['rank']} | {one['index']} | {one['label']} | {one['error']:.4f} |" for one in rows),
    ]
    return "\n".join(lines) + "\n"
