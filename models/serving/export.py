"""From trained weights to a Triton model repository.

What is written, under the folder that is named::

    clip_scorer/
        config.pbtxt         inputs, outputs, and what a client must know of the model, as parameters
        model-card.json
        1/
            config.pbtxt model-card.json
            model.py engine.py openvino_engine.py torch_engine.py
            scorer.xml scorer.bin      the network for OpenVINO
            scorer.safetensors         the weights for torch

A further export adds the next version (:mod:`models.serving.versions`). A version's folder is complete for OpenVINO: a
Triton elsewhere needs numpy and openvino in its Python, nothing of ours.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import models
from models.backbones import weights
from models.card import BUILT_IN, CARD_FILE, Architecture, CardError, Clip, ModelCard, read_card
from models.serving import versions
from models.serving.engine import OPENVINO_FILE, TORCH_FILE, EngineChoice, cuda_devices
from models.serving.versions import CONFIG_FILE, VersionError
from pipeline import files
from pipeline.errors import MistwatchError

if TYPE_CHECKING:
    from models.serving.scorer import ClipScorer, Scorer

SERVED_NAME = "clip_scorer"
DEFAULT_MODEL = "fights"
#: Bound of Triton's dynamic batches. On a CPU a clip costs the same alone and among four (0.43 s of a core's time),
#: while each clip more in a batch takes 130 MB and must be warmed up at every start.
MAX_BATCH_CPU = 2
MAX_BATCH_CUDA = 16

#: Copied into the version folder.
_ADAPTOR_FILES = ("model.py", "engine.py", "openvino_engine.py", "torch_engine.py")
_OURS = Path(models.__file__).parent
#: Modules that decide what an export contains; a change of one makes repositories stale.
EXPORT_MODULES = (
    *(f"models.serving.{file.removesuffix('.py')}" for file in _ADAPTOR_FILES),
    *(f"models.serving.{name}" for name in ("export", "openvino_convert", "scorer", "versions")),
    *(f"models.backbones.{name}" for name in ("base", "c3d", "i3d")),
    "models.card",
    *(f"models.detectors.mist.{name}" for name in ("encoder", "generator", "sga")),
)

Progress = Callable[[str], None]  #: told, in a few words, what is being done


class ExportError(MistwatchError):
    """A model cannot be exported. One line for an operator."""


class UnknownModelError(ExportError):
    """There is no such model."""


def built_in_models() -> list[str]:
    """Names of the models that come with mistwatch."""
    return sorted(card.parent.name for card in BUILT_IN.glob(f"*/{CARD_FILE}"))


def find_model(model: str) -> Path:
    """The folder of a trained model: a built-in model's name, or a folder's path.

    Raises:
        UnknownModelError: neither.
    """
    if model in built_in_models():
        return BUILT_IN / model
    if (Path(model) / CARD_FILE).is_file():
        return Path(model)
    if Path(model).is_dir():
        raise UnknownModelError(f"{model}: no {CARD_FILE} there; expected the folder of a trained model")
    there_are = ", ".join(built_in_models()) or "none"
    raise UnknownModelError(
        f"no model {model!r}: expected the folder of a trained model, or one that comes with mistwatch ({there_are})"
    )


def config_pbtxt(
    card: ModelCard, *, engine: EngineChoice, max_batch: int, attention: tuple[int, int] | None = None
) -> str:
    """Triton's configuration of the served model, but for which version it is.

    Args:
        attention: rows and columns of the attention map, where the model has one.
    """
    outputs = {"SCORE": [1], "FEATURES": [card.architecture.inputs]}
    if attention:
        outputs["ATTENTION"] = list(attention)
    clip = card.clip
    parameters = {
        "name": card.name,
        "backbone": card.backbone.name,
        "clip_frames": clip.frames,
        "clip_stride": clip.stride,
        "clip_height": clip.height,
        "clip_width": clip.width,
        "clip_fit": clip.fit.value,
        "clip_fps": clip.fps,
        "threshold": card.alerting.open_threshold,
        "close_threshold": card.alerting.close_threshold,
        "kernel": card.alerting.kernel,
        "weights_sha256": card.weights_sha256,
        "ENGINE": engine.value,
    }
    lines = [
        "# Written by `mistwatch export`.",
        f"name: {json.dumps(SERVED_NAME)}",
        'backend: "python"',
        f"max_batch_size: {max_batch}",
        "input [",
        f'  {{ name: "CLIP" data_type: TYPE_UINT8 dims: [ {clip.frames}, {clip.height}, {clip.width}, 3 ] }}',
        "]",
        "output [",
        ",\n".join(
            f"  {{ name: {json.dumps(name)} data_type: TYPE_FP32 dims: [ {', '.join(map(str, dims))} ] }}"
            for name, dims in outputs.items()
        ),
        "]",
        "# What waits when the model is free goes together; nothing waits in order to go together.",
        "dynamic_batching { }",
        "# One instance with every core beats several that share them. The engine looks for CUDA itself.",
        "instance_group [ { kind: KIND_CPU count: 1 } ]",
        *(
            f"parameters {{ key: {json.dumps(key)} value {{ string_value: {_quoted(str(value))} }} }}"
            for key, value in parameters.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # the text is UTF-8, as protobuf expects


def export(
    model: str,
    out: Path,
    *,
    engine: EngineChoice = EngineChoice.AUTO,
    max_batch: int | None = None,
    replace: bool = False,
    progress: Progress = lambda _: None,
) -> Path:
    """Write the model repository ``out``, or the next version into it, and return the model's folder in it.

    The version appears whole or not at all, and is the one to be served from then on. It must take the same clips as
    the one before, which are those that the workers cut. Missing backbone weights are fetched first.

    Args:
        model: a built-in model's name or a trained model's folder.
        engine: what it shall be served on; ``auto`` writes what both engines need.
        max_batch: bound of Triton's dynamic batches; by default what suits this machine.
        replace: remove the versions that are there, whatever clips they take.

    Raises:
        UnknownModelError: there is no such model.
        ExportError: anything else, in one line.
    """
    if max_batch is None:
        on_cuda = engine is not EngineChoice.OPENVINO and cuda_devices() > 0
        max_batch = MAX_BATCH_CUDA if on_cuda else MAX_BATCH_CPU
    if max_batch < 1:
        raise ExportError(f"the largest batch must be at least 1, got {max_batch}")
    folder = find_model(model)
    target = out / SERVED_NAME
    with _one_line(out):
        card = read_card(folder)
        check_room(card, folder, out, replace=replace)
        out.mkdir(parents=True, exist_ok=True)
        # A name that Triton does not take for a model, on the same file system.
        place = out / f".{SERVED_NAME}"
        files.remove_stale_drafts(out, place.name)
        draft = files.draft_path(place)
        try:
            draft.mkdir()
            _write(card, folder, draft, engine, max_batch, progress)
            with versions.locked(out):
                check_room(card, folder, out, replace=replace)  # somebody else may have been faster
                versions.add(target, draft, replace=replace)
        finally:
            files.remove(draft)
    return target


def check_room(
    card: ModelCard,
    folder: Path,
    out: Path,
    *,
    replace: bool = False,
    instead: str = "name another repository, or --replace what is there",
) -> None:
    """Whether a model can become a version in a repository: a worker cuts one kind of clips, and a version that wants
    others would stop it.

    Args:
        card, folder: of the model.
        out: the repository; there may be none.
        replace: what is there is to be removed.
        instead: what to do where it cannot, for the operator.

    Raises:
        ExportError: it cannot.
    """
    target = out / SERVED_NAME
    if not target.exists():
        return
    if not (target / CONFIG_FILE).is_file():
        raise ExportError(f"{target} exists and is no model of Triton: name another folder")
    if replace:
        return
    try:
        there = read_card(target).clip
    except CardError as error:
        raise ExportError(f"{error}; {instead}") from None
    if {**card.clip.model_dump(), "stride": 0} != {**there.model_dump(), "stride": 0}:
        raise ExportError(
            f"{target} serves clips of {_in_words(there)}, and {folder} was trained with {_in_words(card.clip)}: "
            f"{instead}"
        )


def _in_words(clip: Clip) -> str:
    return f"{clip.frames}×{clip.height}×{clip.width} ({clip.fit.value}) at {clip.fps} fps"


def ensure_repository(model: str, cache_dir: Path | None = None, *, progress: Progress = lambda _: None) -> Path:
    """A model repository of ``model`` in the user's cache, exported when it is not there.

    It is found again by a hash over the model's card (which holds the hashes of all weights) and the exporting code;
    finding it imports neither torch nor OpenVINO.

    Args:
        model: a built-in model's name or a trained model's folder.
        cache_dir: by default mistwatch's cache folder (``MISTWATCH_CACHE``).

    Raises:
        UnknownModelError: there is no such model.
        ExportError: anything else, in one line.
    """
    folder = find_model(model)
    shelf = (cache_dir or weights.cache_dir()) / "repositories"
    with _one_line(shelf):
        card = read_card(folder)
        where = shelf / f"{card.name}-{_export_key(card)[:16]}"
        finished = where / SERVED_NAME  # it appears whole
        if finished.exists():
            return where
        shelf.mkdir(parents=True, exist_ok=True)
        with (shelf / f"{where.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # a second process waits and finds it there
            if not finished.exists():
                export(model, where, progress=progress)
    return where


def _export_key(card: ModelCard) -> str:
    digest = hashlib.sha256(card.model_dump_json().encode())
    for module in EXPORT_MODULES:
        digest.update((_OURS.parent / f"{module.replace('.', '/')}.py").read_bytes())
    digest.update(json.dumps(export_tools()).encode())
    return digest.hexdigest()


def export_tools() -> dict[str, str]:
    """What beside a model and our code decides what an export contains: versions of packages, and whether CUDA is there
    (for the batches)."""
    tools = {"cuda": str(cuda_devices() > 0)}
    for package in ("openvino", "torch"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            tools[package] = importlib.metadata.version(package)
    return tools


def _write(
    card: ModelCard, folder: Path, draft: Path, engine: EngineChoice, max_batch: int, progress: Progress
) -> None:
    """Fill ``draft``, the folder of a version."""
    scorer = _load(card, folder, progress)
    try:
        attention = _attention_of(scorer, card)
    except ValueError as error:  # too short for it, or a size whose maps do not meet
        raise ExportError(f"{folder}: the clips of its model card do not suit its network: {error}") from None
    for name in _ADAPTOR_FILES:
        shutil.copyfile(_OURS / "serving" / name, draft / name)
    if engine is not EngineChoice.TORCH:
        progress("converting the network for OpenVINO")
        _save_openvino(scorer, card, draft / OPENVINO_FILE)
    if engine is not EngineChoice.OPENVINO:
        _save_torch(scorer, card, draft / TORCH_FILE)
    shutil.copyfile(folder / CARD_FILE, draft / CARD_FILE)
    config = config_pbtxt(card, engine=engine, max_batch=max_batch, attention=attention)
    (draft / CONFIG_FILE).write_text(config, encoding="utf-8")


def _load(card: ModelCard, folder: Path, progress: Progress) -> Scorer:
    """The network of ``folder`` with its weights, the backbone's among them."""
    if isinstance(card.architecture, Architecture):
        return _load_generator(card, folder, progress)
    from models.detectors.mist.encoder import C3D_NAME, EncoderError, load_encoder
    from models.serving.scorer import SelfGuidedScorer

    if not card.architecture.fine_tuned and card.backbone.name != C3D_NAME:
        _fetch(weights.published(card.backbone.name), progress)
    progress("loading the weights")
    try:
        encoder, _ = load_encoder(folder)
    except EncoderError as error:
        raise ExportError(str(error)) from error
    return SelfGuidedScorer(encoder).eval()


def _load_generator(card: ModelCard, folder: Path, progress: Progress) -> ClipScorer:
    from models.detectors.mist.generator import GeneratorError, load_generator

    try:
        generator, _ = load_generator(folder)
    except GeneratorError as error:
        raise ExportError(str(error)) from error
    backbone = weights.published(card.backbone.name)
    if card.backbone.tensors_sha256 != backbone.tensors_sha256:
        raise ExportError(f"{folder / CARD_FILE}: backbone.tensors_sha256 is not that of {backbone.name}")
    _fetch(backbone, progress)

    progress("loading the weights")
    from models.backbones.i3d import WIDTHS, load_i3d
    from models.serving.scorer import ClipScorer

    width = sum(WIDTHS[layer] for layer in card.backbone.layers)
    if width != generator.architecture.inputs:
        raise ExportError(
            f"{folder / CARD_FILE}: architecture.inputs {generator.architecture.inputs} is not the width of "
            f"backbone.layers {', '.join(card.backbone.layers)} ({width})"
        )
    return ClipScorer(load_i3d(backbone.name), generator, card.backbone.layers).eval()


def _attention_of(scorer: Scorer, card: ModelCard) -> tuple[int, int] | None:
    """Rows and columns of its attention map for the card's clips; None where it has none."""
    if "ATTENTION" not in scorer.outputs:
        return None
    import torch

    with torch.inference_mode():
        clip = torch.zeros(1, card.clip.frames, card.clip.height, card.clip.width, 3, dtype=torch.uint8)
        *_, attention = scorer(clip)
    return int(attention.shape[1]), int(attention.shape[2])


def _fetch(backbone: weights.Published, progress: Progress) -> None:
    """Bring the backbone's weights into the cache, telling every tenth of it."""
    told = -1

    def tell(what: str, done: int, total: int) -> None:
        nonlocal told
        if done * 10 // total > told:
            told = done * 10 // total
            progress(f"fetching {what}: {told * 10} % of {total / 1e6:.0f} MB")

    weights.fetch(backbone.name, progress=tell)


def _save_openvino(scorer: Scorer, card: ModelCard, file: Path) -> None:
    from models.serving.openvino_convert import ov, to_openvino

    clip = (card.clip.frames, card.clip.height, card.clip.width, 3)
    ov.save_model(to_openvino(scorer, clip, scorer.outputs), file, compress_to_fp16=False)


def _save_torch(scorer: Scorer, card: ModelCard, file: Path) -> None:
    import safetensors.torch

    tensors = {name: tensor.contiguous() for name, tensor in scorer.state_dict().items()}
    file.write_bytes(safetensors.torch.save(tensors, metadata={"card": card.model_dump_json()}))


@contextlib.contextmanager
def _one_line(out: Path) -> Iterator[None]:
    """Turn what stands in the way of an export into one line."""
    try:
        yield
    except (CardError, VersionError, weights.WeightsError) as error:
        raise ExportError(str(error)) from error
    except ImportError as error:
        raise ExportError(f"exporting needs the package {error.name}: install mistwatch[serve]") from error
    except OSError as error:
        raise ExportError(f"cannot write {error.filename or out}: {error.strerror}") from error
