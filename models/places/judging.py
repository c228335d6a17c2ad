"""Figures of a network on pictures with dense masks of the finest classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from models.places.batches import whole_view
from models.places.data_set import PlaceSet
from models.places.learner import Decider
from models.places.tree import LabelTree
from operators.figures.segments import SegmentCounts, SegmentFigures, count_segments, fold_counts, segment_figures


def count_pixels(
    decider: Decider,
    tree: LabelTree,
    judged: PlaceSet,
    size: tuple[int, int],
    progress: Callable[[int], None] = lambda _pictures: None,
) -> SegmentCounts:
    """Return the pixels by their true node and the decided one, both by their index in ``tree.nodes``.

    Args:
        size: height and width to which pictures and masks are scaled.
        progress: called with the number of pictures that are counted.

    Raises:
        MaskError: a picture or its mask cannot be read.
    """
    total = SegmentCounts(np.zeros((len(tree.nodes), len(tree.nodes) + 1), np.int64))
    for index in range(len(judged)):
        sample = whole_view(judged.sample(index), size)
        decided = decider.decide(torch.from_numpy(sample.picture)[None])[0].numpy()
        total += count_segments(sample.nodes, decided, len(tree.nodes))
        progress(index + 1)
    return total


def only_boxed(tree: LabelTree) -> tuple[str, ...]:
    """Return the leaves that only boxes supervise."""
    masked = {node for one in tree.data_sets.values() if one.annotation == "masks" for node in one.nodes}
    return tuple(leaf for leaf in tree.leaves if leaf not in masked)


def figures_by_level(tree: LabelTree, counts: SegmentCounts) -> dict[str, Any]:
    """Return figures for the card, plain JSON.

    Args:
        counts: by nodes, see :func:`count_pixels`.

    Returns:
        ``levels``: for each level of classifiers the mean accuracy, the mean IoU and the classes; ``only_boxed``: the
        means of the leaves that only boxes supervise, among all classes of the last level; None where there are none.
    """
    levels = []
    for level in range(1, tree.depth + 1):
        names, own = tree.classes_at(level)
        folded = fold_counts(counts, own, len(names))
        figures = segment_figures(folded)
        pixels = folded.table.sum(axis=1).tolist()
        classes = {
            name: {"accuracy": _plain(accuracy), "iou": _plain(iou), "pixels": number}
            for name, accuracy, iou, number in zip(names, figures.accuracy, figures.iou, pixels, strict=True)
        }
        levels.append({"level": level, **_means(figures), "classes": classes})
    boxed = [at for at, name in enumerate(names) if name in only_boxed(tree)]
    chosen = {"classes": [names[at] for at in boxed], **_means(figures.only(boxed))} if boxed else None
    return {"levels": levels, "only_boxed": chosen, "void": counts.void}


def _means(figures: SegmentFigures) -> dict[str, float | None]:
    return {"mean_accuracy": _plain(figures.mean_accuracy), "mean_iou": _plain(figures.mean_iou)}


def _plain(value: float) -> float | None:
    """Return a figure with four digits; None where it is not defined."""
    return None if np.isnan(value) else round(float(value), 4)
