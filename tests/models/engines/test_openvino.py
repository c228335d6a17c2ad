"""Networks with OpenVINO: their outputs by name, alike with every choice of threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.engines.openvino import OpenVinoNetwork, ov
from models.engines.openvino_convert import Input, to_openvino

CLIP = (2, 8, 8, 3)


class Tiny(nn.Module):
    """A convolution over space, and its mean."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv3d(3, 5, 3, padding=1)

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.conv(clips.permute(0, 4, 1, 2, 3).to(torch.float32) / 255)
        return maps.mean(dim=(2, 3, 4)), maps


@pytest.fixture(scope="module")
def network() -> object:
    return to_openvino(Tiny(), {"CLIP": Input(CLIP)}, ("MEAN", "MAP"))


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (3, *CLIP), dtype=np.uint8)


@pytest.mark.parametrize("threads", [None, 0, 1])
def test_outputs_are_the_networks_and_the_same_with_every_choice_of_threads(network, clips, threads) -> None:
    found = OpenVinoNetwork(network, threads=threads).run(clips)
    with torch.inference_mode():
        mean, maps = Tiny()(torch.from_numpy(clips))
    np.testing.assert_allclose(found["MEAN"], mean, atol=1e-5, rtol=0)
    np.testing.assert_allclose(found["MAP"], maps, atol=1e-5, rtol=0)


def test_outputs_are_those_of_the_plain_call_bit_for_bit(network, clips) -> None:
    """Features in the users' caches were computed by the plain call."""
    compiled = ov.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": "NO"})
    found = OpenVinoNetwork(network).run(clips[:1])
    expected = compiled([clips[:1]])
    np.testing.assert_array_equal(found["MEAN"], expected[0])
    np.testing.assert_array_equal(found["MAP"], expected[1])


def test_outputs_belong_to_the_caller(network, clips) -> None:
    loaded = OpenVinoNetwork(network, threads=0)
    first = loaded.run(clips[:1])["MAP"]
    kept = first.copy()
    loaded.run(clips[1:])
    np.testing.assert_array_equal(first, kept)
    assert first.flags.writeable


class Difference(nn.Module):
    """Mean of a picture less that of a clip, by weights for the colours."""

    def forward(self, clips: Tensor, pictures: Tensor, weights: Tensor) -> Tensor:
        means = pictures.float().mean(dim=(1, 2)) - clips.float().mean(dim=(1, 2, 3))
        return means * weights


def test_several_inputs_go_by_their_names() -> None:
    inputs = {"CLIP": Input(CLIP), "SCENE": Input((4, 8, 3)), "WEIGHTS": Input((3,), torch.float32)}
    loaded = OpenVinoNetwork(to_openvino(Difference(), inputs, ("DIFFERENCE",)))
    clips, pictures = np.full((2, *CLIP), 10, np.uint8), np.full((2, 4, 8, 3), 40, np.uint8)
    weights = np.array([[1, 2, 3], [0, 0.5, -1]], np.float32)
    found = loaded.run({"WEIGHTS": weights, "SCENE": pictures, "CLIP": clips})
    np.testing.assert_allclose(found["DIFFERENCE"], [[30, 60, 90], [0, 15, -30]], rtol=1e-6)
    for values in (clips, {"CLIP": clips, "SCENE": pictures}):
        with pytest.raises(ValueError, match=r"^inputs must be CLIP, SCENE, WEIGHTS, got CLIP"):
            loaded.run(values)


def test_a_file_that_is_not_a_network_is_one_line(tmp_path) -> None:
    (tmp_path / "scorer.xml").write_text("<net>")
    with pytest.raises(RuntimeError, match=r"scorer\.xml cannot be loaded .*mistwatch export") as refused:
        OpenVinoNetwork(tmp_path / "scorer.xml")
    assert "\n" not in str(refused.value)
