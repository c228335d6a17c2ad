"""Triton's configuration of a served model, and the settings of a part, which are written alike."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from models.card import SERVED_FLOAT32, ModelCard, ServedPrecision, features_digest
from models.serving.contract import CONFIG_FILE, PRECISION, EngineChoice
from models.serving.parts import HOST_VERSION, read_parameters
from operators.background import SceneKind
from operators.heat_kind import HeatKind

_CODE = "code"  #: parameter of a hosting model: the digest of its code
_HOSTS = re.compile(r'^parameters \{ key: "parts" ', re.MULTILINE)
_MAX_BATCH = re.compile(r"^max_batch_size: (\d{1,9})$", re.MULTILINE)
_SIDE_OUTPUT = re.compile(r'\{ name: "(EMBEDDING|CLASSES)" ')
_OUTPUT = re.compile(r'\{ name: "(\w+)" data_type: TYPE_FP32 dims: \[ ([\d, ]+) \] \}')


class ServedKind(Enum):
    """The kinds of served models, each with names of its outputs and of the model."""

    DETECTOR = ("a detector", "a detector")
    EMBEDDING = ("embeddings", "an embedding model")
    PLACES = ("places", "a model of places")

    @property
    def serves(self) -> str:
        """Name of the outputs, as in "serves embeddings"."""
        return self.value[0]

    @property
    def words(self) -> str:
        """Name of the model, with its article."""
        return self.value[1]


#: The output that only this kind has.
_KIND_OF_OUTPUT = {"EMBEDDING": ServedKind.EMBEDDING, "CLASSES": ServedKind.PLACES}


def config_pbtxt(
    card: ModelCard,
    outputs: Mapping[str, list[int]],
    *,
    name: str,
    engine: EngineChoice = EngineChoice.AUTO,
    max_batch: int,
    heat: HeatKind | None = None,
    scene: SceneKind | None = None,
    mask: bool = False,
    rarity: bool = False,
    served: ServedPrecision = SERVED_FLOAT32,
    gated: bool = False,
) -> str:
    """Return Triton's configuration of a served model, without its version.

    Args:
        outputs: the shape of each output for one clip.
        max_batch: bound of Triton's dynamic batches.
        heat: meaning of the output HEAT, where the model has it.
        scene: the standing scene that the model reads, if any.
        mask: it takes the places to ignore, a number for each cell of HEAT.
        rarity: its scores are rarities (:mod:`operators.rarity`).
        served: the precision that the network computes with, which is part of the parameter ``weights_sha256``: a
            version in int8 is another model than one in float32 for a calibration, a replay and a worker.
        gated: a clip in which nothing moves need not be scored (:mod:`operators.gate`).
    """
    inputs = [_clip(card)]
    if scene:
        size = f"{card.clip.height}, {card.clip.width}, 3"
        inputs.append(f'{{ name: "SCENE" data_type: TYPE_UINT8 dims: [ {size} ] optional: true }}')
    if mask:
        inputs.append(_mask(outputs))
    return triton_config(
        name,
        inputs,
        _scores(outputs),
        {
            **_of_detector(card, rarity=rarity, gated=gated),
            **_in_common(card, heat),
            **({"scene": scene.value} if scene else {}),
            "ENGINE": engine.value,
            "weights_sha256": served.identity(card.weights_sha256),
            **({} if served.precision == "fp32" else {PRECISION: served.precision}),
        },
        max_batch,
    )


def host_config(
    card: ModelCard,
    outputs: Mapping[str, list[int]],
    networks: Mapping[str, str],
    *,
    code: str,
    name: str,
    max_batch: int,
    heat: HeatKind | None,
) -> str:
    """Return Triton's configuration of a model that hosts parts, without its version.

    Args:
        card: of one of the parts; only what they have in common is read.
        outputs: the shape of each output for one clip.
        networks: the identity of each network that the parts share, by its name.
        code: the digest of the model's code.
        max_batch: bound of Triton's dynamic batches.
        heat: meaning of the output HEAT, where the model has it.
    """
    return triton_config(
        name,
        [
            _clip(card, optional=True),
            '{ name: "PART" data_type: TYPE_UINT8 dims: [ -1 ] allow_ragged_batch: true }',
            *([_mask(outputs)] if takes_mask(heat) and "HEAT" in outputs else []),
        ],
        [
            *_scores(outputs),
            '{ name: "PART_VERSION" data_type: TYPE_INT64 dims: [ 1 ] }',
            '{ name: "PART_SETTINGS" data_type: TYPE_UINT8 dims: [ -1 ] }',
        ],
        {
            "parts": "camera",
            **_in_common(card, heat),
            **{f"network_{network}": identity for network, identity in networks.items()},
            _CODE: code,
        },
        max_batch,
    )


def takes_mask(heat: HeatKind | None) -> bool:
    """Return whether a program takes the places to ignore: those whose score comes from the cells of HEAT do."""
    return heat is HeatKind.ANOMALY


def part_config(card: ModelCard, *, host_version: int, rarity: bool, gated: bool) -> str:
    """Return the settings of a part, without its version.

    Args:
        host_version: the version of the hosting model that the part needs.
        rarity, gated: as for :func:`config_pbtxt`.
    """
    parameters = _parameters({**_of_detector(card, rarity=rarity, gated=gated), HOST_VERSION: host_version})
    return "\n".join(["# Written by `mistwatch export`.", *parameters]) + "\n"


def hosts_parts(model: Path) -> bool:
    """Return whether the served model in a folder hosts the parts of cameras. Raises OSError."""
    text = (model / CONFIG_FILE).read_text(encoding="utf-8", errors="replace")
    return _HOSTS.search(text) is not None


def served_kind(model: Path) -> ServedKind:
    """Return the kind of the served model in a folder. Raises OSError."""
    found = _SIDE_OUTPUT.search((model / CONFIG_FILE).read_text(encoding="utf-8", errors="replace"))
    return ServedKind.DETECTOR if found is None else _KIND_OF_OUTPUT[found[1]]


def differences(config: str, other: str) -> list[str]:
    """Return the parameters, apart from the code, in which the second configuration differs from the first, in words.

    Raises:
        ValueError: a parameter is damaged.
    """
    first, second = read_parameters(config), read_parameters(other)
    return [
        f"{key} {first.get(key, 'none')}, not {second.get(key, 'none')}"
        for key in dict.fromkeys([*first, *second])
        if key != _CODE and first.get(key) != second.get(key)
    ]


def code_of(config: str) -> str:
    """Return the digest of a hosting model's code; empty where it states none. Raises ValueError: it is damaged."""
    return read_parameters(config).get(_CODE, "")


def max_batch_of(config: str) -> int | None:
    """Return the bound of Triton's dynamic batches; None where none is stated."""
    found = _MAX_BATCH.search(config)
    return int(found[1]) if found else None


def score_outputs(config: str) -> dict[str, list[int]]:
    """Return the shape of each output for one clip that a configuration of a detector names: SCORE, FEATURES, HEAT."""
    return {name: [int(size) for size in dims.split(",")] for name, dims in _OUTPUT.findall(config)}


def _of_detector(card: ModelCard, *, rarity: bool, gated: bool) -> dict[str, object]:
    """Return the detector's own parameters: its identity, the cutting of its clips, and the judging of its scores."""
    clip = card.clip
    return {
        "name": card.name,
        **({"backbone": card.backbone.name} if card.backbone else {}),
        **({"features": digest} if (digest := features_digest(card)) else {}),
        "clip_stride": clip.stride,
        "clip_fit": clip.fit.value,
        "clip_fps": "native" if clip.fps is None else clip.fps,
        "threshold": card.alerting.open_threshold,
        "close_threshold": card.alerting.close_threshold,
        "kernel": card.alerting.kernel,
        "weights_sha256": card.weights_sha256,
        **({"scores": "rarity"} if rarity else {}),
        **({"gate": "allowed"} if gated else {}),
    }


def _in_common(card: ModelCard, heat: HeatKind | None) -> dict[str, object]:
    """Return the parameters that all parts share: the family, the size of its clips, the meaning of its heat."""
    clip = card.clip
    return {
        "family": card.family,
        "clip_frames": clip.frames,
        "clip_height": clip.height,
        "clip_width": clip.width,
        **({"heat": heat.value} if heat else {}),
    }


def _clip(card: ModelCard, *, optional: bool = False) -> str:
    clip = card.clip
    dims = f"{clip.frames}, {clip.height}, {clip.width}, 3"
    return f'{{ name: "CLIP" data_type: TYPE_UINT8 dims: [ {dims} ]{" optional: true" if optional else ""} }}'


def _mask(outputs: Mapping[str, list[int]]) -> str:
    dims = ", ".join(map(str, outputs["HEAT"]))
    return f'{{ name: "MASK" data_type: TYPE_UINT8 dims: [ {dims} ] optional: true }}'


def _scores(outputs: Mapping[str, list[int]]) -> list[str]:
    return [
        f"{{ name: {json.dumps(output)} data_type: TYPE_FP32 dims: [ {', '.join(map(str, dims))} ] }}"
        for output, dims in outputs.items()
    ]


def triton_config(
    name: str, inputs: list[str], outputs: list[str], parameters: Mapping[str, object], max_batch: int
) -> str:
    """Return a ``config.pbtxt`` for the Python backend, without a version.

    Args:
        inputs, outputs: a line each, in Triton's text form.
    """
    lines = [
        "# Written by `mistwatch export`.",
        f"name: {json.dumps(name)}",
        'backend: "python"',
        f"max_batch_size: {max_batch}",
        "input [",
        ",\n".join(f"  {line}" for line in inputs),
        "]",
        "output [",
        ",\n".join(f"  {line}" for line in outputs),
        "]",
        "# Clips that wait when the model is free go together; none waits in order to go together.",
        "dynamic_batching { }",
        "# One instance with every core beats several that share them. The engine looks for CUDA itself.",
        "instance_group [ { kind: KIND_CPU count: 1 } ]",
        *_parameters(parameters),
    ]
    return "\n".join(lines) + "\n"


def _parameters(values: Mapping[str, object]) -> list[str]:
    return [
        f"parameters {{ key: {json.dumps(key)} value {{ string_value: {_quoted(str(value))} }} }}"
        for key, value in values.items()
    ]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # the text is UTF-8, as protobuf expects
