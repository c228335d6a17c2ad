"""The stage ``product``: the classifier as a model that is served, and its worst mistakes.

classifier.safetensors    the trained layers
model-card.json           classes, figures with intervals, suggested thresholds
recipe.yaml               the recipe; `mistwatch train classifier --config` reads it
mistakes.json             the pictures whose own class was least probable, with heat
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import yaml

from models.backbones.card_entry import entry
from models.card import write_card
from models.data.npy_rows import Rows
from models.detectors.classifier.card import Architecture, ClassifierCard
from models.detectors.classifier.figures import figures_of
from models.detectors.classifier.networks import CHANNELS, PictureClassifier
from models.detectors.classifier.recipe import ClassifierRecipe
from models.detectors.classifier.stages.pictures import Row
from models.detectors.classifier.views import whole
from models.detectors.classifier.weights import PUBLISHED, save_classifier
from models.jobs.rows import write_json
from models.jobs.thresholds import alerting_of_normal
from pipeline.manifests.folds import TEST
from pipeline.windows import StoredClip

RECIPE_FILE, MISTAKES_FILE = "recipe.yaml", "mistakes.json"
#: Mistakes that are listed.
MISTAKES = 12


def compute(
    folder: Path,
    network: PictureClassifier,
    classes: Sequence[str],
    pictures: Rows,
    rows: Sequence[Row],
    known: Sequence[int],
    unseen: npt.NDArray[np.float64],
    tested: npt.NDArray[np.float64],
    recipe: ClassifierRecipe,
    training: dict[str, Any],
) -> ClassifierCard:
    """Write the product.

    Args:
        pictures, rows: all labelled pictures.
        known: ordinals of those that may be learned from.
        unseen: probabilities of the known pictures, each by a head that had not seen its group, (known, classes).
        tested: those of the pictures of split test by the product, (test, classes); there may be none.
        training: the card's part about the training.

    Raises:
        OSError: the folder cannot be written.
    """
    test = [at for at, row in enumerate(rows) if row.split == TEST]
    parts = {"out_of_fold": (list(known), unseen)} | ({"test": (test, tested)} if test else {})
    figures: dict[str, Any] = {
        part: figures_of(
            [str(at) for at in ordinals],
            truth_of(rows, ordinals, classes),
            [rows[at].group for at in ordinals],
            found,
            draws=recipe.draws,
        )
        for part, (ordinals, found) in parts.items()
    }
    alerting, reached = alerting_of_normal(
        _normal_series(rows, known, unseen, classes[0]),
        recipe.alarms.kernel,
        open_share=recipe.alarms.open_share,
        close_share=recipe.alarms.close_share,
    )
    # Where normal pictures score next to nothing, an alert would hardly ever end.
    closes = max(alerting.close_threshold, round(alerting.open_threshold / 2, 2))
    alerting = alerting.model_copy(update={"close_threshold": closes})
    published = recipe.weights is None
    card = ClassifierCard(
        name=recipe.name,
        description=recipe.description,
        architecture=Architecture(
            backbone=recipe.backbone,
            head=recipe.head.kind,
            classes=tuple(classes),
            channels=CHANNELS[recipe.backbone],
        ),
        backbone=entry(PUBLISHED[recipe.backbone]) if published else None,
        weights_sha256=save_classifier(network, folder, convolutions=not published),
        clip=StoredClip.from_spec(recipe.clip),
        alerting=alerting,
        training={
            "data": recipe.data,
            **training,
            "torch": torch.__version__.split("+")[0],
            "scikit-learn": version("scikit-learn"),
        },
        figures={**figures, "share_of_normal_at_open_threshold": reached["share_at_open_threshold"]},
        held_out_sources=sorted({rows[at].group for at in test}),
        sees=recipe.sees or [f"pictures like those of {', '.join(classes[1:])} that it was trained on"],
        does_not_see=recipe.does_not_see or ["anything that it was not shown, at other places or from other cameras"],
    )
    write_card(card, folder)
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
    (folder / RECIPE_FILE).write_text(text, encoding="utf-8")
    write_json(folder / MISTAKES_FILE, _mistakes(network, classes, pictures, rows, known, unseen, recipe))
    return card


def truth_of(rows: Sequence[Row], ordinals: Sequence[int], classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the ordinals of the classes of pictures, (ordinals,)."""
    number = {name: at for at, name in enumerate(classes)}
    return np.array([number[rows[at].class_name] for at in ordinals], np.int64)


def _normal_series(
    rows: Sequence[Row], known: Sequence[int], unseen: npt.NDArray[np.float64], normal: str
) -> list[npt.NDArray[np.float64]]:
    """Return the scores of normal pictures: those of a recording in order, and each single picture by itself."""
    series: dict[int, list[float]] = {}
    for at, probabilities in zip(known, unseen, strict=True):
        if rows[at].class_name == normal:
            series.setdefault(rows[at].source, []).append(float(1 - probabilities[0]))
    return [np.array(scores) for scores in series.values()]


def _mistakes(
    network: PictureClassifier,
    classes: Sequence[str],
    pictures: Rows,
    rows: Sequence[Row],
    known: Sequence[int],
    unseen: npt.NDArray[np.float64],
    recipe: ClassifierRecipe,
) -> list[dict[str, Any]]:
    """Return the pictures whose own class was the least probable, one of each group, the worst first; plain JSON.

    The probabilities are those of heads that had not seen the picture; the heat is the product's.
    """
    truth = truth_of(rows, known, classes)
    of_own = unseen[np.arange(len(known)), truth]
    worst: dict[str, int] = {}  # one of each group: neighbours of a film are alike
    for at in np.argsort(of_own, kind="stable").tolist():
        if unseen[at].argmax() != truth[at]:
            worst.setdefault(rows[known[at]].group, at)
    found = []
    for at in list(worst.values())[:MISTAKES]:
        row = rows[known[at]]
        clip = torch.from_numpy(whole(np.asarray(pictures[known[at]]), recipe))[None, None]
        with torch.inference_mode():
            heat = network(clip)[2][0].numpy()
        found.append(
            {
                "name": row.name,
                "source": row.source,
                "frame": row.frame,
                "class": row.class_name,
                "called": classes[int(unseen[at].argmax())],
                "probabilities": {name: round(float(p), 4) for name, p in zip(classes, unseen[at], strict=True)},
                "heat": heat.round(3).tolist(),
            }
        )
    return found
