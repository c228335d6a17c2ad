"""Descriptors of patches: the backbone's maps, averaged over neighbours, on one grid."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.datasets import load_sample_image

from models.backbones.efficientnet_lite0 import EfficientNetLite0, load_efficientnet_lite0, normalise_pictures
from models.backbones.efficientnet_stages import StageName
from models.backbones.patch_descriptors import PatchDescriptors, cell_side, channels
from models.detectors.memory_bank.descriptors import descriptor_network
from models.detectors.memory_bank.distances import Neighbours
from models.detectors.memory_bank.program import MemoryBankScorer
from models.detectors.memory_bank.recipe import MemoryBankRecipe
from operators.rarity import TAIL_FROM, Rarity
from pipeline.windows import ClipSpec

LAYERS: tuple[StageName, ...] = ("stage_3", "stage_5")


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return cv2.resize(load_sample_image("china.jpg"), (96, 64), interpolation=cv2.INTER_AREA)


def mean_of_neighbours(values: np.ndarray, row: int, column: int) -> np.ndarray:
    """(C, h, w) → (C,): the mean of the cell and of those around it that are in the map."""
    return values[:, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].mean(axis=(1, 2))


def test_they_are_means_of_the_maps_around_a_cell(efficientnet: EfficientNetLite0, picture: np.ndarray) -> None:
    """The coarse map's neighbours, and of the fine map the neighbours of the cell's four; the corner has fewer."""
    network = PatchDescriptors(load_efficientnet_lite0("stage_5"), LAYERS, 1).eval()
    with torch.inference_mode():
        (found,) = network(torch.from_numpy(picture)[None])
        maps = efficientnet.maps(normalise_pictures(torch.from_numpy(picture)[None]))
    assert found.shape == (1, 152, 4, 6)
    fine, coarse = maps["stage_3"][0].numpy(), maps["stage_5"][0].numpy()
    for row, column in ((0, 0), (2, 3), (3, 5)):
        four = [(2 * row + down, 2 * column + across) for down in (0, 1) for across in (0, 1)]
        expected = np.mean([mean_of_neighbours(fine, *at) for at in four], axis=0)
        np.testing.assert_allclose(found[0, :40, row, column], expected, atol=1e-4)
        np.testing.assert_allclose(found[0, 40:, row, column], mean_of_neighbours(coarse, row, column), atol=1e-4)


def test_a_coarser_map_is_interpolated_on_the_grid_of_a_finer_one(
    efficientnet: EfficientNetLite0, picture: np.ndarray
) -> None:
    """As OpenCV enlarges it; the picture is half a cell of the coarse map too short, whose last one is cut."""
    short = picture[:56]
    clip = ClipSpec(1, 1, 56, 96)
    found = descriptor_network(LAYERS, 1, clip, "stage_3").open().run(short[None])["DESCRIPTORS"]
    assert found.shape == (1, 152, 56 // cell_side(LAYERS, 1, "stage_3"), 96 // 8)
    with torch.inference_mode():
        maps = efficientnet.maps(normalise_pictures(torch.from_numpy(short.copy())[None]))
    fine, coarse = maps["stage_3"][0].numpy(), maps["stage_5"][0].numpy()
    averaged = np.stack(
        [mean_of_neighbours(coarse, row, column) for row, column in np.ndindex(coarse.shape[1:])], axis=1
    ).reshape(coarse.shape)
    expected = [cv2.resize(channel, (12, 8), interpolation=cv2.INTER_LINEAR)[:7] for channel in averaged]
    np.testing.assert_allclose(found[0, 40:], expected, atol=1e-3)
    np.testing.assert_allclose(found[0, :40, 2, 3], mean_of_neighbours(fine, 2, 3), atol=1e-3)


def test_an_enlarged_picture_has_finer_cells(efficientnet: EfficientNetLite0, picture: np.ndarray) -> None:
    """As if OpenCV had enlarged the picture before, without rounding it."""
    clip = ClipSpec(1, 1, 64, 96)
    found = descriptor_network(LAYERS, 2, clip).open().run(picture[None])["DESCRIPTORS"]
    assert found.shape == (1, 152, 64 // cell_side(LAYERS, 2), 96 // 8)
    large = cv2.resize(picture.astype(np.float32), (192, 128), interpolation=cv2.INTER_LINEAR)
    network = PatchDescriptors(load_efficientnet_lite0("stage_5"), LAYERS, 1).eval()
    with torch.inference_mode():
        (expected,) = network(torch.from_numpy(large)[None])
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_sizes() -> None:
    assert (cell_side(LAYERS, 2), cell_side(("stage_2",), 1)) == (8, 4)
    assert (channels(LAYERS), channels(("stage_2",))) == (152, 24)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"layers": ["stage_5", "stage_3"]}, "from fine to coarse, got stage_5, stage_3"),
        ({"layers": ["stage_3", "stage_3"]}, "different stages"),
        ({"layers": []}, "at least 1"),
        ({"enlarge": 3}, "enlarge must divide the 16 pixels of a cell of stage_5, got 3"),
        ({"grid": "stage_4"}, "grid must be one of the layers stage_3, stage_5, got stage_4"),
        ({"grid": "stage_3", "enlarge": 3}, "enlarge must divide the 8 pixels of a cell of stage_3, got 3"),
        ({"height": 100}, "height must be a multiple of a cell's 8 pixels, got 100"),
        ({"distance": "cosine"}, "'gaussian' or 'neighbours'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        MemoryBankRecipe.model_validate(settings)


@pytest.mark.usefixtures("efficientnet")
def test_a_program_finds_the_descriptors_of_one_layer_alone(picture: np.ndarray) -> None:
    """OpenVINO gives the network's output several names then."""
    network = descriptor_network(("stage_3",), 1, ClipSpec(1, 1, 64, 96)).open()
    rarity = Rarity(np.array([0.0, 2.0]), np.array([0.0, TAIL_FROM]), 1.0)
    scorer = MemoryBankScorer(network, Neighbours(np.zeros((1, 40), np.float32)), rarity)
    distances, features = scorer.measure(picture[None, None])
    assert (distances.shape, features.shape) == ((1, 8, 12), (1, 40))
