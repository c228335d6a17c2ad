"""The stage ``product``: the network with its card, its figures and a page.

places.safetensors    the network's weights
places-card.json      label tree, sizes, data, hashes, figures
recipe.yaml           the recipe
places.md             a page with the figures
samples.png           some judged pictures, with the true classes and the decided ones
"""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml

from models.card import write_card_file
from models.places.card import CARD_FILE, PlacesCard
from models.places.learner import Learner
from models.places.place_data import PlaceData
from models.places.recipe import PlacesRecipe
from models.places.stages.judging import PICTURE_FILE
from models.places.trained import WEIGHTS_FILE
from models.places.training import History
from models.tensors import save_tensors

RECIPE_FILE, PAGE_FILE = "recipe.yaml", "places.md"


def compute(
    folder: Path,
    learner: Learner,
    history: History,
    judgement: Path,
    figures: dict[str, Any],
    data: PlaceData,
    recipe: PlacesRecipe,
    seed: int,
) -> None:
    """Write them.

    Args:
        judgement: folder of the stage ``judging``, and its figures.

    Raises:
        OSError: the folder cannot be written.
    """
    tree = data.tree
    card = PlacesCard(
        name=recipe.name,
        description=recipe.description,
        kind=recipe.kind,
        classifiers={name: tuple(classes) for name, classes in tree.classifiers.items()},
        data_sets=dict(tree.data_sets),
        things=tuple(node for node in tree.nodes if node in tree.things and tree.parents[node] not in tree.things),
        backbone=recipe.backbone,
        size=recipe.views.size,
        channels=recipe.channels,
        weights_sha256=save_tensors(learner.network.state_dict(), folder / WEIGHTS_FILE),
        recipe=recipe.settings(),
        seed=seed,
        training={
            "pictures": {name: len(one) for name, one in data.sets.items()},
            "steps": history[-1]["steps"],
            "torch": torch.__version__.split("+")[0],
            "torchvision": version("torchvision").split("+")[0],
        },
        figures=figures,
        judged=data.judged_in_words,
    )
    write_card_file(card, folder / CARD_FILE)
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
    (folder / RECIPE_FILE).write_text(text, encoding="utf-8")
    if (judgement / PICTURE_FILE).exists():
        shutil.copyfile(judgement / PICTURE_FILE, folder / PICTURE_FILE)
    (folder / PAGE_FILE).write_text(_page(card, history), encoding="utf-8")


def _page(card: PlacesCard, history: History) -> str:
    pictures = ", ".join(f"{number} of {name}" for name, number in card.training["pictures"].items())
    lines = [
        f"# {card.name}: a {card.kind} network",
        "",
        f"Learned from pictures of {len(card.training['pictures'])} data sets ({pictures}) in "
        f"{card.training['steps']} steps. The loss fell from {history[0]['loss']:.3f} in the first round to "
        f"{history[-1]['loss']:.3f} in the last one.",
        "",
    ]
    if not card.figures:
        return "\n".join([*lines, "There are no judged pictures, so there are no figures."]) + "\n"
    lines += [f"Judged: {card.judged}.", "", f"![Judged pictures]({PICTURE_FILE})"]
    if boxed := card.figures["only_boxed"]:
        lines += [
            "",
            f"Classes that only boxes supervise ({', '.join(boxed['classes'])}): mean accuracy "
            f"{_shown(boxed['mean_accuracy'])}, mean IoU {_shown(boxed['mean_iou'])}.",
        ]
    for level in card.figures["levels"]:
        lines += [
            "",
            f"| level {level['level']} | pixels | accuracy | IoU |",
            "|---|--:|--:|--:|",
            *(
                f"| {name} | {found['pixels']} | {_shown(found['accuracy'])} | {_shown(found['iou'])} |"
                for name, found in level["classes"].items()
            ),
            f"| mean | | {_shown(level['mean_accuracy'])} | {_shown(level['mean_iou'])} |",
        ]
    return "\n".join(lines) + "\n"


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
