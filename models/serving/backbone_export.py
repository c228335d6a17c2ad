"""A backbone that is served by itself, for every detector of a repository that stands on it::

    backbone_i3d_kinetics400_5f0c2a91d7e3/
        config.pbtxt     input CLIP; outputs: the maps of its layers, and the same pooled
        1/               model.py … scorer.xml scorer.bin NOTICE
    fights/1/
        backbone.json    the name of the backbone, and the outputs that this detector reads
        scorer.xml .bin  the detector's own head
        …

Its name holds a digest of its weights, its clips and the code, so that detectors share it exactly if their results are
those of a backbone of their own. It has one version; another backbone has another name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from models.card import ModelCard
from models.code import code_digest
from models.detectors.network import Divided, SceneNetwork, ServedNetwork
from models.engines.openvino_convert import Input, save, to_openvino
from models.serving import versions
from models.serving.config import triton_config
from models.serving.contract import (
    BACKBONE_BATCH,
    BACKBONE_FILE,
    BACKBONE_PREFIX,
    CONFIG_FILE,
    OPENVINO_FILE,
    SCENE_FILE,
)
from models.serving.export import copy_modules, export_tools, write_notice
from pipeline import files

if TYPE_CHECKING:
    from torch import Tensor


_COPIED = {
    "models.serving.backbone_model": "model",
    "models.serving.contract": "contract",
    "models.serving.kept": "kept",
    "models.serving.over_backbone": "over_backbone",
    "models.serving.triton_tensors": "triton_tensors",
    "models.engines.one_by_one": "one_by_one",
    "models.engines.openvino": "openvino_engine",
    "models.engines.precision": "precision",
}


def write_on_backbone(
    network: ServedNetwork, card: ModelCard, of_scene: Mapping[str, Tensor], out: Path, draft: Path
) -> None:
    """Write a detector's own part into the version folder ``draft``, and its backbone into the repository.

    Args:
        network: one that can be divided.
        of_scene: its outputs for a scene, (1, ...) by their names.
        out: the repository.

    Raises:
        OSError: they cannot be written.
    """
    divided = network.divided()
    assert divided is not None
    _write_head(network, divided, card, of_scene, draft)
    named = {"model": _ensure_backbone(divided, card, out), "reads": divided.reads}
    (draft / BACKBONE_FILE).write_text(json.dumps(named, indent=2) + "\n", encoding="utf-8")


def _ensure_backbone(divided: Divided, card: ModelCard, out: Path) -> str:
    """Write the backbone into the repository ``out`` unless it is there, and return its name. Raises OSError."""
    of = card.backbone.name if card.backbone is not None else card.family
    clip = (card.clip.frames, card.clip.height, card.clip.width, 3)
    name = _name(of, divided, clip)
    files.remove_stale_drafts(out, f".{name}")
    draft = files.draft_path(out / f".{name}")
    if (out / name).exists():
        return name
    try:
        draft.mkdir()
        copy_modules(_COPIED, draft)
        write_notice({of}, draft)
        save(to_openvino(divided.backbone, {"CLIP": Input(clip)}, divided.layers), draft / OPENVINO_FILE)
        config = triton_config(
            name,
            [f'{{ name: "CLIP" data_type: TYPE_UINT8 dims: [ {_dims(clip)} ] }}'],
            [
                f'{{ name: "{layer}" data_type: TYPE_FP32 dims: [ {_dims(shape)} ] }}'
                for layer, shape in _shapes(divided, clip)
            ],
            {"backbone": of},
            BACKBONE_BATCH,
        )
        (draft / CONFIG_FILE).write_text(config, encoding="utf-8")
        with versions.locked(out):
            if not (out / name).exists():  # else another process was faster
                versions.add(out / name, draft)
    finally:
        files.remove(draft)
    return name


def _write_head(
    network: ServedNetwork, divided: Divided, card: ModelCard, of_scene: Mapping[str, Tensor], draft: Path
) -> None:
    shapes = dict(_shapes(divided, (card.clip.frames, card.clip.height, card.clip.width, 3)))
    inputs = {name: Input(shapes[name], torch.float32) for name in divided.reads}
    inputs |= {name: Input(tuple(tensor.shape[1:]), tensor.dtype) for name, tensor in of_scene.items()}
    save(to_openvino(divided.head, inputs, network.outputs), draft / OPENVINO_FILE)
    if isinstance(network, SceneNetwork):
        scene = {"SCENE": Input((card.clip.height, card.clip.width, 3))}
        save(to_openvino(network.standing, scene, network.of_scene), draft / SCENE_FILE)
        if card.backbone is not None:  # the network over scenes has the backbone's weights
            write_notice({card.backbone.name}, draft)


def _shapes(divided: Divided, clip: tuple[int, ...]) -> list[tuple[str, tuple[int, ...]]]:
    """Return the shape of each of the backbone's outputs for one clip."""
    with torch.inference_mode():
        found = divided.backbone(torch.zeros(1, *clip, dtype=torch.uint8))
    return [(name, tuple(layer.shape[1:])) for name, layer in zip(divided.layers, found, strict=True)]


def _dims(shape: Sequence[int]) -> str:
    return ", ".join(map(str, shape))


def _name(backbone: str, divided: Divided, clip: tuple[int, ...]) -> str:
    """Return the backbone's name, which holds a digest of everything that determines its results."""
    digest = hashlib.sha256(repr(clip).encode())
    for name, tensor in sorted(divided.weights.items()):
        digest.update(name.encode() + tensor.detach().contiguous().numpy().tobytes())
    digest.update(code_digest([*_COPIED, save.__module__, type(divided.backbone).__module__]).encode())
    digest.update(json.dumps(export_tools()).encode())
    plain = "".join(letter if letter.isalnum() else "_" for letter in backbone)
    return f"{BACKBONE_PREFIX}{plain}_{digest.hexdigest()[:12]}"
