"""Batches of pictures from several data sets in a fixed proportion.

Everything random depends on the seed, the step and the place in the batch alone, so a resumed training draws the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from models.jobs.checkpoints import derived_seed
from models.places.data_set import PlaceSample, PlaceSet
from models.places.recipe import Views


class Batch(NamedTuple):
    """Pictures uint8 (B, H, W, 3), their nodes int64 (B, H, W), and whether boxes annotate each, bool (B,)."""

    pictures: Tensor
    nodes: Tensor
    boxes: Tensor


class Batches:
    """The batches of a training, by the number of the step.

    A data set is read in a new random order each time that all its pictures have been read.

    Args:
        shares: pictures of each data set in a batch.
    """

    def __init__(self, sets: Mapping[str, PlaceSet], shares: Mapping[str, int], views: Views, seed: int) -> None:
        self._sets = [(sets[name], share) for name, share in shares.items()]
        self._views, self._seed = views, seed

    def at(self, step: int) -> Batch:
        """Return the batch of a step.

        Raises:
            MaskError: a picture or its annotation cannot be read.
        """
        samples, boxes = [], []
        for ordinal, (one, share) in enumerate(self._sets):
            for place in range(share):
                turn, position = divmod(step * share + place, len(one))
                draw = np.random.default_rng(derived_seed(self._seed, step, ordinal, place))
                index = int(self._order(ordinal, turn)[position])
                samples.append(random_view(one.sample(index), self._views, draw))
                boxes.append(one.of_boxes)
        return Batch(
            torch.from_numpy(np.stack([sample.picture for sample in samples])),
            torch.from_numpy(np.stack([sample.nodes for sample in samples])),
            torch.tensor(boxes),
        )

    def _order(self, ordinal: int, turn: int) -> npt.NDArray[np.int64]:
        draw = np.random.default_rng(derived_seed(self._seed, ordinal, turn))
        return draw.permutation(len(self._sets[ordinal][0]))


def random_view(sample: PlaceSample, views: Views, draw: np.random.Generator) -> PlaceSample:
    """Return a random part of a picture, scaled and perhaps mirrored, of the size ``views.crop``."""
    zoom = draw.uniform(*views.zoom)
    scale = zoom * _covering(sample, views.size)
    height, width = (side / scale for side in views.crop)
    rows, columns = sample.nodes.shape
    top, left = draw.uniform(0, rows - height), draw.uniform(0, columns - width)
    view = _part(sample, (left, top, left + width, top + height), views.crop)
    if views.flip and draw.random() < 0.5:
        return PlaceSample(view.picture[:, ::-1].copy(), view.nodes[:, ::-1].copy())
    return view


def whole_view(sample: PlaceSample, size: tuple[int, int]) -> PlaceSample:
    """Return a picture scaled to a height and a width, as a served network reads it."""
    rows, columns = sample.nodes.shape
    return _part(sample, (0, 0, columns, rows), size)


def _covering(sample: PlaceSample, size: tuple[int, int]) -> float:
    """Return the factor with which a picture just covers a height and a width."""
    rows, columns = sample.nodes.shape
    return float(max(size[0] / rows, size[1] / columns))


def _part(sample: PlaceSample, box: tuple[float, float, float, float], size: tuple[int, int]) -> PlaceSample:
    """Return the part of a picture in a box (left, top, right, bottom), scaled; nodes by nearest."""
    height, width = size
    rows, columns = sample.nodes.shape
    left, top, right, bottom = box
    inside = (max(left, 0), max(top, 0), min(right, columns), min(bottom, rows))  # rounding may lead outside
    picture = Image.fromarray(sample.picture).resize((width, height), Image.Resampling.BILINEAR, box=inside)
    y = _nearest(top, bottom, height, rows)
    x = _nearest(left, right, width, columns)
    return PlaceSample(np.array(picture), sample.nodes[y[:, None], x[None, :]])


def _nearest(start: float, end: float, number: int, least_upper: int) -> npt.NDArray[np.int64]:
    """Return the source's pixel under the middle of each of ``number`` pixels that cover start to end."""
    middles = start + (np.arange(number) + 0.5) * (end - start) / number
    return np.clip(middles.astype(np.int64), 0, least_upper - 1)
