"""The stage ``product``: an embedding model that ``mistwatch export`` takes, and its memory bank.

embedding-card.json            features, sizes, suggested similarity, training, figures
embedder.safetensors           the weights
bank.safetensors, bank.json    the memory bank: the embeddings of the stretches as they are
recipe.yaml                    the recipe
"""

from __future__ import annotations

import math
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import yaml

from models.alike.bank import Bank
from models.alike.clips.films import FilmSet
from models.alike.clips.head import ABOUT_FILE
from models.alike.clips.recipe import ClipRecipe
from models.alike.served.card import EmbeddingCard, Features, write_embedding_card
from models.alike.served.embedder import Embedder
from models.alike.served.weights import WEIGHTS_FILE, load_embedder
from models.alike.trained import RECIPE_FILE
from models.backbones.weights import published
from models.card import Backbone
from models.jobs.rows import read_json

#: The suggested similarity is rounded up to hundredths.
_STEPS = 100
#: Pairs of stretches of different films that the suggestion is taken from, at most.
_PAIRS = 1_000_000


def compute(
    folder: Path,
    head: Path,
    views: npt.NDArray[np.float32],
    film: npt.NDArray[np.int64],
    films: FilmSet,
    recipe: ClipRecipe,
    seed: int,
) -> EmbeddingCard:
    """Write them.

    Args:
        head: the folder of the stage ``head``.
        views: features of the stretches' views, (N, V, D); the first one of each is the stretch as it is.
        film: the ordinal of each stretch's film, (N,).

    Raises:
        TensorsError: the weights are damaged.
        OSError: the folder cannot be written.
    """
    number, of_each, count = views.shape
    card = EmbeddingCard(
        name=recipe.name,
        description=recipe.description,
        features=Features(
            backbone=Backbone(name=recipe.backbone, tensors_sha256=published(recipe.backbone).tensors_sha256),
            layers=recipe.layers,
            clip=recipe.clip,
            count=count,
        ),
        widths=(recipe.contrast.values,),
        similarity=1.0,
        mute_similarity=1.0,
        weights_sha256=read_json(head / ABOUT_FILE)["weights_sha256"],
        training={
            "films": len(films.films),
            "stretches": number,
            "obtained": recipe.films.obtain,
            "seed": seed,
            "torch": torch.__version__.split("+")[0],
            "torchvision": version("torchvision").split("+")[0],
        },
        figures={},
    )
    embedder = Embedder(load_embedder(card, head))
    bank = Bank(embedder.embed(np.ascontiguousarray(views[:, 0])))
    queries = embedder.embed(np.ascontiguousarray(views[:, 1:]).reshape(-1, count))
    own = np.repeat(np.arange(number), of_each - 1)
    found = bank.nearest(queries, 1).ordinals[:, 0]
    card = card.model_copy(
        update={
            "similarity": suggested_similarity(bank.features, film, recipe.apart, seed),
            "mute_similarity": suggested_similarity(bank.features, film, recipe.mute_apart, seed),
            "figures": {"views_nearest_to_their_own_stretch": round(float((found == own).mean()), 4)},
        }
    )
    shutil.copyfile(head / WEIGHTS_FILE, folder / WEIGHTS_FILE)
    bank.save(folder)
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
    (folder / RECIPE_FILE).write_text(text, encoding="utf-8")
    write_embedding_card(card, folder)
    return card


def suggested_similarity(
    embeddings: npt.NDArray[np.float32], film: npt.NDArray[np.int64], apart: float, seed: int
) -> float:
    """Return a similarity that the share ``apart`` of pairs of clips of different films does not reach.

    What happens on another day is mostly something else, so most of what reaches it is alike. No label is used.

    Args:
        embeddings: of length 1, (N, E).
        film: the ordinal of each clip's film, (N,).
        seed: of the draw of the pairs.

    Returns:
        Hundredths, rounded up, from 0.01 to 1.
    """
    draw = np.random.default_rng(seed)
    first, second = draw.integers(len(embeddings), size=(2, _PAIRS))
    differ = film[first] != film[second]
    pairs = np.einsum("ij,ij->i", embeddings[first[differ]], embeddings[second[differ]])
    reached = float(np.quantile(pairs, apart))
    return min(max(math.ceil(reached * _STEPS), 1), _STEPS) / _STEPS
