"""Quantised networks: against arithmetic by hand, and against the network in float32."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.engines.openvino import OpenVinoNetwork, ov
from models.engines.openvino_convert import Input, save, to_openvino
from models.engines.quantised import (
    LEAST_CLIPS,
    QuantisationError,
    Ranges,
    blocks,
    calibrate,
    layer_names,
    load_ranges,
    most_sensitive,
    quantise,
)

SHAPE = (4, 12, 12, 3)


class Unit(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x)))


class Small(nn.Module):
    """The shape of I3D in small: normalisation, convolutions with BatchNorm, pools, branches, an average."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.left, self.right = Unit(3, 8, 3), Unit(8, 8, 3), Unit(8, 4, 1)
        self.last = Unit(12, 16, 3)

    def forward(self, clips: Tensor) -> Tensor:
        x = self.first(clips.permute(0, 4, 1, 2, 3).float() / 127.5 - 1)
        x = nn.functional.max_pool3d(x, (1, 3, 3), (1, 2, 2), padding=(0, 1, 1), ceil_mode=True)
        x = torch.cat([self.left(x), self.right(nn.functional.max_pool3d(x, 3, 1, 1))], 1)
        return self.last(x).mean((2, 3, 4))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    module = Small()
    for norm in (one for one in module.modules() if isinstance(one, nn.BatchNorm3d)):
        norm.running_mean.normal_(0, 0.2)
        norm.running_var.uniform_(0.5, 2)
    return to_openvino(module.eval(), {"CLIP": Input(SHAPE)}, ["FEATURES"])


def clips(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (1, *SHAPE), dtype=np.uint8) for _ in range(count)]


@pytest.fixture(scope="module")
def ranges(network):
    return calibrate(network, [{"CLIP": clip} for clip in clips(12)])


def features(network, clip):
    return OpenVinoNetwork(network, threads=1).run(clip)["FEATURES"][0]


def test_a_quantised_network_is_near_the_one_in_float32_and_not_equal(network, ranges):
    quantised = quantise(network, ranges)
    for clip in clips(4, seed=1):
        expected, found = features(network, clip), features(quantised, clip)
        assert 0 < np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def test_the_ranges_hold_the_values_that_the_network_computes(network, ranges):
    """Of the input, in [-1, 1], and none below 0 behind a ReLU."""
    of_input = [(low, high) for low, high in ranges.activations.values() if low < 0]
    assert len(of_input) == 1
    low, high = of_input[0]
    assert -1.02 <= low <= -0.98
    assert 0.98 <= high <= 1.02
    assert all(high > 0 for _, high in ranges.activations.values())


@pytest.mark.parametrize("inputs", [3, 16])
def test_one_convolution_is_the_arithmetic_by_hand(inputs):
    """On the grids of values and weights; the loudest values would saturate where products are added in 16 bits."""
    torch.manual_seed(5)

    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv3d(inputs, 64, 1)
            self.conv.weight.data.abs_()  # nothing cancels

        def forward(self, values: Tensor) -> Tensor:
            return torch.relu(self.conv(torch.relu(values.permute(0, 4, 1, 2, 3).float() * 0.01)))

    module = One().eval()
    shape = (*SHAPE[:-1], inputs)
    plain = to_openvino(module, {"CLIP": Input(shape)}, ["OUT"])
    high = 2.0
    producer = next(op.get_friendly_name() for op in plain.get_ordered_ops() if op.get_type_name() == "Relu")
    quantised = quantise(plain, Ranges({producer: (0.0, high)}, tuple(layer_names(plain))))
    clip = np.random.default_rng(2).integers(150, 256, (1, *shape), dtype=np.uint8)
    found = OpenVinoNetwork(quantised, threads=1).run(clip)["OUT"]

    weights = module.conv.weight.detach().numpy().reshape(64, inputs).astype(np.float64)
    even = inputs // 2 * 2
    pairs = (weights[:, 0:even:2] + weights[:, 1:even:2]).max(1)
    steps = np.maximum(weights.max(1), pairs)[:, None] / 127
    weights = np.round(weights / steps) * steps
    values = np.round(np.clip(clip.astype(np.float64) * 0.01, 0, high) / (high / 255)) * (high / 255)
    expected = np.maximum(values @ weights.T + module.conv.bias.detach().numpy(), 0).transpose(0, 4, 1, 2, 3)
    # Values that lie in the middle between two steps may be rounded either way.
    assert (np.abs(found - expected) < 1e-4).mean() > 0.9
    assert np.abs(found - expected).max() < 0.02 * expected.max()


def test_pools_and_convolutions_compute_in_int8(network, ranges):
    """Asked of the compiled network: a pool in float32 would have the convolution behind it in float32, too."""
    compiled = ov.Core().compile_model(quantise(network, ranges), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    kinds: dict[str, set[str]] = {}
    for operator in compiled.get_runtime_model().get_ordered_ops():
        about = operator.get_rt_info()
        kinds.setdefault(about["layerType"].astype(str), set()).add(about["runtimePrecision"].astype(str))
    if "INT8" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("OpenVINO has no int8 for this processor")
    assert kinds["Convolution"] <= {"u8", "i8"}
    assert kinds["Pooling"] <= {"u8", "i8"}


def test_the_input_of_calibration_and_quantisation_is_not_changed(network, ranges):
    clip = clips(1, seed=4)[0]
    before = features(network, clip)
    quantise(network, ranges)
    np.testing.assert_array_equal(features(network, clip), before)


def test_the_same_clips_give_the_same_network(network, ranges, tmp_path):
    again = calibrate(network, [{"CLIP": clip} for clip in clips(12)])
    assert again == ranges
    clip = clips(1, seed=6)[0]
    np.testing.assert_array_equal(features(quantise(network, again), clip), features(quantise(network, ranges), clip))


def test_kept_ranges_give_the_same_network_and_the_file_is_small(network, ranges, tmp_path):
    file = tmp_path / "ranges.json"
    kept = load_ranges(file, sha256=ranges.save(file))
    assert kept == ranges
    assert file.stat().st_size < 5_000
    save(quantise(network, kept), tmp_path / "read.xml")
    clip = clips(1, seed=7)[0]
    read = OpenVinoNetwork(tmp_path / "read.xml", threads=1).run(clip)["FEATURES"][0]
    np.testing.assert_array_equal(read, features(quantise(network, ranges), clip))


def test_layers_can_stay_in_float32(network, ranges):
    clip = clips(1, seed=8)[0]
    expected = features(network, clip)
    none = features(quantise(network, ranges.without(blocks(ranges.layers))), clip)
    np.testing.assert_allclose(none, expected, atol=1e-6, rtol=0)
    some, every = (
        features(quantise(network, one), clip) for one in (ranges.without([".first/"]), ranges.without([".nothing"]))
    )
    assert not np.array_equal(some, every)


def test_names_of_layers_are_the_same_each_time(network):
    assert layer_names(network) == layer_names(network)
    assert [name.split("/")[0].rpartition(".")[2] for name in layer_names(network)] == [
        "first",
        "left",
        "right",
        "last",
    ]


def test_blocks_end_where_names_first_differ():
    assert blocks(["net.a/Relu", "net.b.x/Relu", "net.b.y/Relu"]) == ["net.a/", "net.b."]
    assert blocks(["net/Relu"]) == ["net/"]


@pytest.mark.parametrize(
    ("costs", "most", "expected"),
    [
        ({"a": 1, "b": 5, "c": 2}, 8, []),  # nothing to do
        ({"a": 1, "b": 5, "c": 2}, 3, ["n.b/"]),
        ({"a": 1, "b": 5, "c": 2}, 1, ["n.b/", "n.c/"]),
        ({"a": 0, "b": 0, "c": 2}, -1, ["n.c/"]),  # no further block helps
    ],
)
def test_the_most_harmful_blocks_stay_in_float32(costs, most, expected):
    ranges = Ranges({}, ("n.a/Relu", "n.b/Relu", "n.c/Relu"))

    def cost(fewer: Ranges) -> float:
        return sum(costs[layer.split(".")[1][0]] for layer in fewer.layers)

    assert most_sensitive(ranges, cost, most) == expected


def test_too_few_calibration_clips_are_refused(network):
    with pytest.raises(
        QuantisationError, match=rf"too few calibration clips \(got 7\); expected at least {LEAST_CLIPS}"
    ):
        calibrate(network, [{"CLIP": clip} for clip in clips(7)])


def test_ranges_of_another_network_are_refused(network, ranges):
    other = Ranges({**ranges.activations, "elsewhere": (0.0, 1.0)}, ranges.layers)
    with pytest.raises(QuantisationError, match=r"the network has no elsewhere .* belong to another network"):
        quantise(network, other)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"layers": 3, "activations": {}}', '{"layers": [], "activations": {"a": 1}}']
)
def test_damaged_ranges_are_refused(text, tmp_path):
    import hashlib

    file = tmp_path / "ranges.json"
    file.write_text(text)
    with pytest.raises(QuantisationError, match="does not hold ranges"):
        load_ranges(file, sha256=hashlib.sha256(text.encode()).hexdigest())


def test_ranges_of_another_card_and_missing_ones_are_refused(tmp_path: Path):
    file = tmp_path / "ranges.json"
    with pytest.raises(QuantisationError, match="cannot be read: No such file"):
        load_ranges(file, sha256="")
    file.write_text(json.dumps({"layers": [], "activations": {}}))
    with pytest.raises(QuantisationError, match="is not that of its model card"):
        load_ranges(file, sha256="0" * 64)


def test_calibration_imports_no_telemetry(ranges):
    """NNCF reports its use through a package whose import is kept from succeeding."""
    assert sys.modules["openvino_telemetry"] is None
