"""The stage ``product``: the embedding, the clusters and the memory bank, with their figures and a page.

embedding.safetensors          encoder and projection head
clusters.safetensors           encoder and linear layer after self-labelling
bank.safetensors, bank.json    the memory bank of the learned pictures
alike-card.json                sizes, data, hashes, figures
recipe.yaml                    the recipe
clusters.json                  the cluster of each picture, after clustering and after self-labelling
clusters.md, clusters.png      a page with the figures, and the surest pictures of each cluster
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml

from models.alike.bank import Bank, Ordinals
from models.alike.card import CARD_FILE, AlikeCard
from models.alike.clusters_picture import draw_clusters
from models.alike.features import probabilities_of
from models.alike.figures import clustering_figures, matched_labels
from models.alike.networks import ClusteringNetwork, EmbeddingNetwork
from models.alike.pictures.picture_set import PictureData
from models.alike.recipe import AlikeRecipe
from models.alike.trained import CLUSTERS_FILE, EMBEDDING_FILE, RECIPE_FILE
from models.alike.training import History
from models.card import write_card_file
from models.jobs.rows import write_json
from models.tensors import save_tensors

ASSIGNED_FILE, PAGE_FILE, PICTURE_FILE = "clusters.json", "clusters.md", "clusters.png"


@dataclass(frozen=True, eq=False)
class Learned:
    """The results of the stages before.

    Attributes:
        neighbours: content of ``neighbours.json`` (:mod:`models.alike.stages.bank`).
        clustered: the network before self-labelling, and ``labelled`` the one after it.
        histories: of the three trainings, by their stages.
    """

    embedding: EmbeddingNetwork
    bank: Bank
    neighbours: dict[str, Any]
    clustered: ClusteringNetwork
    labelled: ClusteringNetwork
    histories: dict[str, History]


def compute(folder: Path, learned: Learned, data: PictureData, recipe: AlikeRecipe, seed: int) -> AlikeCard:
    """Write them. Raises OSError."""
    before = probabilities_of(learned.clustered, data.judged).argmax(axis=1)
    probabilities = probabilities_of(learned.labelled, data.learned)
    after = probabilities_of(learned.labelled, data.judged).argmax(axis=1)
    figures: dict[str, Any] = {}
    if data.judged.labels is not None:
        figures = {
            "neighbours": learned.neighbours["figures"],
            "clustering": clustering_figures(data.judged.labels, before),
            "self_labels": clustering_figures(data.judged.labels, after),
        }
    card = AlikeCard(
        name=recipe.name,
        description=recipe.description,
        size=data.size,
        values=recipe.contrast.values,
        clusters=learned.labelled.clusters,
        embedding_sha256=save_tensors(learned.embedding.state_dict(), folder / EMBEDDING_FILE),
        clusters_sha256=save_tensors(learned.labelled.state_dict(), folder / CLUSTERS_FILE),
        training={
            "data": {"name": data.name, "learned": len(data.learned), "judged": len(data.judged)},
            "silhouettes": learned.neighbours.get("silhouettes"),
            "seed": seed,
            "torch": torch.__version__.split("+")[0],
            "torchvision": version("torchvision").split("+")[0],
            "faiss": version("faiss-cpu"),
        },
        figures=_rounded(figures),
    )
    learned.bank.save(folder)
    write_card_file(card, folder / CARD_FILE)
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
    (folder / RECIPE_FILE).write_text(text, encoding="utf-8")
    assigned = {"learned": probabilities.argmax(axis=1), "judged": after, "judged_before_self_labels": before}
    write_json(folder / ASSIGNED_FILE, {name: clusters.tolist() for name, clusters in assigned.items()})
    titles = _titles(probabilities.argmax(axis=1), data, card.clusters)
    draw_clusters(folder / PICTURE_FILE, data.learned.pixels, probabilities, titles)
    (folder / PAGE_FILE).write_text(_page(card, learned.histories), encoding="utf-8")
    return card


def _titles(clusters: Ordinals, data: PictureData, number: int) -> list[str]:
    """Return a title for each cluster: its size and, where there are labels, the one that it is matched with."""
    titles = []
    labels = data.learned.labels
    named = {} if labels is None else matched_labels(labels, clusters)
    for cluster in range(number):
        members = clusters == cluster
        title = f"cluster {cluster}: {members.sum()} pictures"
        if labels is not None and cluster in named:
            share = (labels[members] == named[cluster]).mean()
            name = data.classes[named[cluster]].encode("ascii", "replace").decode()
            title += f", {share:.0%} of them {name}"
        titles.append(title)
    return titles


def _page(card: AlikeCard, histories: dict[str, History]) -> str:
    data = card.training["data"]
    learned = f"{data['learned']} pictures of {data['name']}"
    lines = [
        f"# {card.name}: {card.clusters} clusters",
        "",
        f"Learned without labels from {learned}. The figures are of {data['judged']} other pictures."
        if card.figures
        else f"Learned from {learned}. They have no labels, so there are no figures.",
        "",
        f"![The surest pictures of each cluster]({PICTURE_FILE})",
    ]
    if card.figures:
        lines += [
            "",
            "| after | accuracy | NMI | ARI | clusters with members |",
            "|---|--:|--:|--:|--:|",
            *(
                f"| {name} | {found['accuracy']:.3f} | {found['nmi']:.3f} | {found['ari']:.3f} | {found['clusters']} |"
                for name, found in (
                    ("clustering", card.figures["clustering"]),
                    ("self-labelling", card.figures["self_labels"]),
                )
            ),
            "",
            "| neighbours | |",
            "|---|--:|",
            *(f"| {name.replace('_', ' ')} | {value:.3f} |" for name, value in card.figures["neighbours"].items()),
        ]
    if found := card.training["silhouettes"]:
        lines += ["", "| clusters | silhouette of held-out pictures |", "|--:|--:|"]
        lines += [f"| {number} | {value:.3f} |" for number, value in found.items()]
    lines += ["", "| stage | epochs | loss of the first epoch | of the last |", "|---|--:|--:|--:|"]
    for name, history in histories.items():
        lines.append(f"| {name} | {len(history)} | {history[0]['loss']:.3f} | {history[-1]['loss']:.3f} |")
    return "\n".join(lines) + "\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return round(value, 4) if isinstance(value, float) else value
