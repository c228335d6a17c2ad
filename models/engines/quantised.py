"""Post-training quantisation of OpenVINO networks: convolutions in int8, everything else in float32.

NNCF measures the ranges of the activations on calibration clips. They are a few kilobytes. A model keeps them in a
file beside its weights, so the same int8 network can be made again without the footage and without NNCF. The ranges of
the weights follow from the weights.

Choices that were measured on I3D:

* BatchNorm is folded into the convolutions first. NNCF would otherwise quantise between the two.
* Max-pools are written in the form of OpenVINO's first operator set. The newer form, which the conversion from torch
  writes, is computed in float32, and so are the convolutions behind it.
* Bias correction is off: with a few dozen clips it made the features worse.
* Values that enter no quantised convolution, such as pooled features, stay in float32.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline import files
from pipeline.errors import MistwatchError

# Before OpenVINO's own modules: it keeps OpenVINO's telemetry from being imported.
from models.engines.openvino import ov  # isort: skip
from openvino._offline_transformations import apply_moc_transformations, compress_quantize_weights_transformation

#: Fewest calibration clips. With fewer, the extremes of the activations are a matter of chance.
LEAST_CLIPS = 8

_ACTIVATION_LEVELS = 256
_WEIGHT_LEVELS = 255  # symmetric: -127 to 127
_CONVOLUTIONS = {"Convolution": 1, "GroupConvolution": 2}  #: with the leading axes of the weights that are channels
#: Operators whose outputs have the range of their inputs, and which compute in int8 between quantised convolutions.
_TRANSPARENT = ("MaxPool", "Concat", "Pad")

Values = Mapping[str, npt.NDArray[Any]]


class QuantisationError(MistwatchError):
    """A network cannot be quantised."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """The data that quantise a network, beside its weights.

    Attributes:
        activations: lowest and highest value by the name of the operator that produces them.
        layers: names of the convolutions that compute in int8; see :func:`layer_names`.
    """

    activations: Mapping[str, tuple[float, float]]
    layers: tuple[str, ...]

    def without(self, names: Collection[str]) -> Ranges:
        """Return the ranges with some layers left in float32: those whose names contain one of ``names``."""
        kept = tuple(layer for layer in self.layers if not any(name in layer for name in names))
        return Ranges(self.activations, kept)

    def save(self, file: Path) -> str:
        """Write them as JSON, in full or not at all, and return the file's SHA-256. Raises OSError."""
        files.write_text(file, self._text())
        return self.digest()

    def digest(self) -> str:
        """Return the SHA-256 of the file that :meth:`save` writes."""
        return hashlib.sha256(self._text().encode()).hexdigest()

    def _text(self) -> str:
        return json.dumps({"layers": self.layers, "activations": self.activations}, indent=1) + "\n"


def load_ranges(file: Path, *, sha256: str) -> Ranges:
    """Return the ranges in a file.

    Args:
        sha256: hash of the file, as the model card has it.

    Raises:
        QuantisationError: the file is missing or damaged, or its hash is another one.
    """
    try:
        data = file.read_bytes()
        if (found := hashlib.sha256(data).hexdigest()) != sha256:
            raise QuantisationError(f"{file}: SHA-256 {found} is not that of its model card ({sha256})")
        held = json.loads(data)
        activations = {str(name): (float(low), float(high)) for name, (low, high) in held["activations"].items()}
        return Ranges(activations, tuple(map(str, held["layers"])))
    except OSError as error:
        raise QuantisationError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise QuantisationError(f"{file}: does not hold ranges of a network ({error!r})") from None


def layer_names(network: Any) -> list[str]:
    """Return the names of a network's convolutions, in the order of computation.

    A name is that of the last operator that the engine fuses with the convolution, such as its ReLU: folding gives the
    convolution itself a new name at every run.
    """
    return list(_layers(_prepared(network)))


def calibrate(network: Any, samples: Sequence[Values]) -> Ranges:
    """Measure the ranges of a network's activations with NNCF.

    Args:
        network: an ``openvino.Model`` in float32. It is not changed.
        samples: calibration clips: each input by its name, (1, ...).

    Raises:
        QuantisationError: too few clips.
        ImportError: NNCF is missing.
    """
    if len(samples) < LEAST_CLIPS:
        raise QuantisationError(
            f"quantisation: too few calibration clips (got {len(samples)}); expected at least {LEAST_CLIPS}; "
            "add validation videos or take --precision fp32"
        )
    import nncf

    nncf.set_log_level(logging.ERROR)
    prepared = _prepared(network)
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bars
        quantised = nncf.quantize(
            prepared,
            nncf.Dataset(samples, dict),
            subset_size=len(samples),
            advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True),
        )
    activations: dict[str, tuple[float, float]] = {}
    for operator in quantised.get_ordered_ops():
        producer = operator.input_value(0).get_node() if operator.get_type_name() == "FakeQuantize" else None
        if producer is None or producer.get_type_name() in ("Constant", "Convert"):
            continue
        low, high = (operator.input_value(at).get_node().data for at in (1, 2))
        activations[producer.get_friendly_name()] = (float(np.min(low)), float(np.max(high)))
    return Ranges(activations, tuple(_layers(prepared)))


def quantise(network: Any, ranges: Ranges) -> Any:
    """Return a copy of a network whose ``ranges.layers`` compute in int8.

    The weights are quantised by output channel, symmetrically, and so that no processor saturates.

    Raises:
        QuantisationError: the ranges belong to another network.
    """
    copy = _prepared(network)
    layers = _layers(copy)
    producers = {operator.get_friendly_name(): operator for operator in copy.get_ordered_ops()}
    unknown = sorted({*ranges.layers} - layers.keys() | {*ranges.activations} - producers.keys())
    if unknown:
        raise QuantisationError(
            f"quantisation: the network has no {unknown[0]} (of {len(unknown)} such names); the ranges belong to "
            "another network or another version of OpenVINO; quantise the model again with --validate"
        )
    needed: dict[str, Any] = {}
    for layer in ranges.layers:
        sources = _sources(layers[layer])
        if sources.keys() <= ranges.activations.keys():
            _quantise_weights(layers[layer])
            needed |= sources
    for name, producer in needed.items():
        output = producer.output(0)
        targets = output.get_target_inputs()
        low, high = ranges.activations[name]
        quantised = _fake_quantise(output, low, high, _ACTIVATION_LEVELS)
        for target in targets:
            target.replace_source_output(quantised.output(0))
    copy.validate_nodes_and_infer_types()
    compress_quantize_weights_transformation(copy)
    return copy


def most_sensitive(
    ranges: Ranges,
    cost: Callable[[Ranges], float],
    most: float,
    *,
    steps: int = 3,
    on_step: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Return blocks of layers without which a quantised network costs at most ``most``, the most harmful block first.

    Each step leaves one more block in float32, the one whose absence helps most. The search ends early where none does.

    Args:
        cost: measures a network that is quantised by such ranges.
        steps: largest number of blocks.
        on_step: called with a few words when a step begins.
    """
    chosen: list[str] = []
    lowest = cost(ranges)
    for step in range(steps):
        if lowest <= most:
            break
        on_step(
            f"int8 costs {lowest:.3f}, more than {most:g}: looking for a block to leave in float32 (step {step + 1})"
        )
        tried = {
            block: cost(ranges.without([*chosen, block])) for block in blocks(ranges.layers) if block not in chosen
        }
        block = min(tried, key=tried.__getitem__, default="")
        if not block or tried[block] >= lowest:
            break
        chosen.append(block)
        lowest = tried[block]
    return chosen


def blocks(layers: Sequence[str]) -> list[str]:
    """Return the blocks of a network: the parts of its layers' names up to where they first differ.

    >>> blocks(["net.first/conv", "net.second.a/conv", "net.second.b/conv"])
    ['net.first/', 'net.second.']
    """
    paths = [layer.partition("/")[0].split(".") for layer in layers]
    depth = 0
    while all(len(path) > depth + 1 for path in paths) and len({path[depth] for path in paths}) == 1:
        depth += 1
    return list(dict.fromkeys(".".join(path[: depth + 1]) + ("." if len(path) > depth + 1 else "/") for path in paths))


def _prepared(network: Any) -> Any:
    """Return a copy with BatchNorm folded, and max-pools that compute in int8."""
    copy = network.clone()
    apply_moc_transformations(copy, cf=False)
    for operator in copy.get_ordered_ops():
        if operator.get_type_name() == "MaxPool" and operator.get_output_size() == 2:
            _replace_pool(operator)
    copy.validate_nodes_and_infer_types()
    return copy


def _replace_pool(pool: Any) -> None:
    """Replace a max-pool of a newer operator set, unless it is dilated or its indices are read."""
    given = pool.get_attributes()
    if any(step != 1 for step in given["dilations"]) or pool.output(1).get_target_inputs():
        return
    kernel, strides, before = given["kernel"], given["strides"], given["pads_begin"]
    sizes = [dimension.get_length() for dimension in list(pool.input(0).get_partial_shape())[2:]]
    results = [dimension.get_length() for dimension in list(pool.output(0).get_partial_shape())[2:]]
    after = [
        max((result - 1) * stride + width - size - pad, 0)
        for result, stride, width, size, pad in zip(results, strides, kernel, sizes, before, strict=True)
    ]
    plain = ov.opset1.max_pool(pool.input_value(0), strides, before, after, kernel, "floor", "explicit")
    plain.set_friendly_name(pool.get_friendly_name())
    for target in pool.output(0).get_target_inputs():
        target.replace_source_output(plain.output(0))


def _layers(prepared: Any) -> dict[str, Any]:
    """Return the convolutions with constant weights by their names; see :func:`layer_names`."""
    return {
        _last_fused(operator).get_friendly_name(): operator
        for operator in prepared.get_ordered_ops()
        if operator.get_type_name() in _CONVOLUTIONS and _is_constant(operator.input_value(1).get_node())
    }


def _last_fused(convolution: Any) -> Any:
    """Return the bias or activation behind a convolution, or itself."""
    last = convolution
    for wanted in (("Add",), ("Relu", "Clamp", "Swish", "HSwish", "PRelu", "Elu", "Sigmoid", "Tanh")):
        targets = list(last.output(0).get_target_inputs())
        if len(targets) != 1 or targets[0].get_node().get_type_name() not in wanted:
            continue
        last = targets[0].get_node()
    return last


def _is_constant(node: Any) -> bool:
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")


def _sources(convolution: Any) -> dict[str, Any]:
    """Return the operators whose values a convolution reads, past operators that keep the range, by their names."""
    found: dict[str, Any] = {}
    waiting = [convolution.input_value(0).get_node()]
    while waiting:
        operator = waiting.pop()
        if operator.get_type_name() == "Concat":
            waiting += [value.get_node() for value in operator.input_values()]
        elif operator.get_type_name() in _TRANSPARENT:
            waiting.append(operator.input_value(0).get_node())
        else:
            found[operator.get_friendly_name()] = operator
    return found


def _quantise_weights(convolution: Any) -> None:
    output = convolution.input_value(1)
    node = output.get_node()
    constant = node.input_value(0).get_node() if node.get_type_name() == "Convert" else node
    weights = np.asarray(constant.data, dtype=np.float32)
    bound = _bounds(weights, _CONVOLUTIONS[convolution.get_type_name()])
    quantised = _fake_quantise(output, -bound, bound, _WEIGHT_LEVELS)
    convolution.input(1).replace_source_output(quantised.output(0))


def _bounds(weights: npt.NDArray[np.float32], channels: int) -> npt.NDArray[np.float32]:
    """Return the largest weight of each output channel, and at least the sum of two neighbours of one sign.

    Processors without VNNI add the products of two neighbouring input channels in 16 bits (``vpmaddubsw``). The sum
    255 · (a + b) of such a pair must not exceed 32767, so a + b must not exceed 128 steps.

    Args:
        weights: (..., inputs, kernel) with ``channels`` leading axes of output channels.

    Returns:
        (..., 1, 1, ...), above 0.
    """
    axes = tuple(range(channels, weights.ndim))
    largest = np.abs(weights).max(axis=axes, keepdims=True)
    pairs = weights.shape[channels] // 2 * 2
    first, second = (weights.take(range(at, pairs, 2), axis=channels) for at in (0, 1))
    sums = np.where(first * second > 0, np.abs(first + second), 0)
    summed = sums.max(axis=axes, keepdims=True) if pairs else largest
    bounds: npt.NDArray[np.float32] = np.maximum(np.maximum(largest, summed), np.finfo(np.float32).tiny)
    return bounds


def _fake_quantise(output: Any, low: Any, high: Any, levels: int) -> Any:
    bounds = [ov.opset1.constant(np.asarray(bound, dtype=np.float32)) for bound in (low, high)]
    return ov.opset1.fake_quantize(output, *bounds, *bounds, levels)
