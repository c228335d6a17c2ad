"""Training of the encoder: clips with pseudo labels in, heads or a whole encoder out (MIST's stage 2).

Bit-reproducible on a CPU at a fixed number of threads, killed and started again or not. Under ``torchrun`` the same
call in every process is one training that they share, on all GPUs and machines of ``torchrun``.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.backbones.base import MapBackbone
from models.backbones.i3d import I3D
from models.detectors.mist.encoder import AttentionEncoder
from models.detectors.mist.encoder_data import Bag, LabelledClips, LabelledMaps
from models.detectors.mist.encoder_scoring import SCORED_AT_ONCE, Network
from models.detectors.mist.sga import SelfGuidedAttention, SelfGuidedHeads
from models.detectors.mist.standardising import standardise
from models.jobs.checkpoints import CHECKPOINT_FILE, CURVES, own_random_numbers, resumable
from models.jobs.errors import TrainingError

if TYPE_CHECKING:
    from models.data.npy_rows import NpyFile
    from models.detectors.mist.encoder_recipe import EncoderRecipe, Precision
    from pipeline.windows import ClipSpec

Progress = Callable[[int], None]  #: epochs done

#: Accelerators, in Lightning's words, that are a GPU where torch has one.
_ON_A_GPU = ("auto", "gpu", "cuda")

#: Lightning's words.
_PRECISION: dict[Precision, Any] = {"32": "32-true", "bf16-mixed": "bf16-mixed", "16-mixed": "16-mixed"}


def train_encoder(
    bags: Sequence[LabelledMaps],
    recipe: EncoderRecipe,
    seed: int,
    folder: Path,
    *,
    validation: Sequence[LabelledMaps] = (),
    progress: Progress = lambda _: None,
    accelerator: str = "auto",
) -> SelfGuidedHeads:
    """Train self-guided attention and both heads on maps of a backbone that is not trained.

    Args:
        recipe: settings of the training; of size ``maps``.
        seed: of the first weights and all draws.
        folder: of checkpoint and curves; made when missing. From the checkpoint of this very training the training
            continues after its epoch, so a finished one costs nothing.
        validation: other videos, on which each epoch's weights are judged, as the curves show. Their soft labels are
            not used.

    Returns:
        The heads in evaluation mode, on the CPU.

    Raises:
        TrainingError: unusable videos, a loss that is not finite, or a checkpoint of another training.
        OSError: the folder cannot be written.
    """
    _check(bags, validation, recipe, "maps")
    with own_random_numbers(seed):
        heads = _heads(bags[0].early.shape[1], bags[0].late.shape[1], recipe)
        _try(heads, *(_one_of(values) for values in bags[0].inputs))
        if recipe.standardise:
            standardise(heads, torch.cat([_untrained(heads, bag) for bag in bags]))
        _fit(heads, bags, recipe, seed, folder, validation, progress, accelerator)
    return heads.cpu().eval()


def train_full(
    bags: Sequence[LabelledClips],
    recipe: EncoderRecipe,
    seed: int,
    folder: Path,
    *,
    backbone: MapBackbone,
    validation: Sequence[LabelledClips] = (),
    progress: Progress = lambda _: None,
    accelerator: str = "auto",
) -> AttentionEncoder:
    """Train the backbone too, on clips: after its frozen epochs, and never its BatchNorm.

    Args:
        backbone: with published weights and without a classifier; these weights are changed.
        bags, recipe, seed, folder, validation, progress, accelerator: see :func:`train_encoder`; the recipe of size
            ``full``.

    Returns:
        The encoder in evaluation mode, on the CPU.

    Raises:
        TrainingError, OSError: see :func:`train_encoder`.
    """
    _check(bags, validation, recipe, "full")
    with own_random_numbers(seed):
        encoder = AttentionEncoder(backbone, _heads(backbone.early_channels, backbone.late_channels, recipe))
        for clip in _seen(_one_of(bags[0].clips), recipe):
            _try(encoder, clip)
        _fit(encoder, bags, recipe, seed, folder, validation, progress, accelerator)
    return encoder.cpu().eval()


def check_clips(clip: ClipSpec, recipe: EncoderRecipe) -> None:
    """Check that I3D and attention can read such clips, before hours are spent on them; nothing is computed.

    Raises:
        TrainingError: the clips are too short, or their pictures too small.
    """
    with torch.device("meta"):
        backbone = I3D(classes=0, late=recipe.late)
        encoder = AttentionEncoder(backbone, _heads(backbone.early_channels, backbone.late_channels, recipe))
    whole = torch.empty((1, clip.frames, clip.height, clip.width, 3), dtype=torch.uint8, device="meta")
    for pixels in _seen(whole, recipe) if recipe.size == "full" else [whole]:
        try:
            _try(encoder, pixels)
        except TrainingError as error:
            frames, height, width = pixels.shape[1:4]
            raise TrainingError(f"clips of {frames} frames of {height}×{width}: {error}") from None


def _heads(early: int, late: int, recipe: EncoderRecipe) -> SelfGuidedHeads:
    attention = SelfGuidedAttention(early, recipe.hidden, recipe.detectors)
    heads = SelfGuidedHeads(
        attention, late, recipe.dropout, reads=recipe.reads, unit_length=recipe.unit_length, late=recipe.late
    )
    # A linear layer on a thousand inputs keeps much of its first weights. From zero it shows only what it has learned.
    nn.init.zeros_(heads.weighted.weight)
    nn.init.zeros_(heads.weighted.bias)
    return heads


def _try(network: Network, *inputs: Tensor) -> None:
    """Check by the shapes alone that the network can read such maps or clips, before anything is written."""
    with torch.no_grad():
        try:
            copy.deepcopy(network).to("meta")(*inputs)
        except ValueError as error:
            raise TrainingError(str(error)) from None


def _one_of(values: npt.NDArray[Any] | NpyFile) -> Tensor:
    """Return a tensor without content of the shape and type of one of these maps or clips, (1, ...)."""
    kept = torch.uint8 if values.dtype == np.uint8 else torch.float32
    return torch.empty((1, *values.shape[1:]), dtype=kept, device="meta")


def _seen(clip: Tensor, recipe: EncoderRecipe) -> list[Tensor]:
    """Return a clip, (1, T, H, W, 3), in the size for scoring and, where it differs, the size for training."""
    if recipe.crop is None:
        return [clip]
    return [clip, clip.new_empty((*clip.shape[:2], recipe.crop, recipe.crop, 3))]


def _untrained(heads: SelfGuidedHeads, bag: LabelledMaps) -> Tensor:
    """Return the weighted head's inputs for a video before anything is learned, (n, inputs)."""
    found = []
    with torch.no_grad():
        for first in range(0, len(bag.soft), SCORED_AT_ONCE):
            some = slice(first, first + SCORED_AT_ONCE)
            found.append(heads(*(torch.from_numpy(np.array(values[some])).float() for values in bag.inputs)).features)
    return torch.cat(found)


def _fit(
    network: Network,
    bags: Sequence[Bag],
    recipe: EncoderRecipe,
    seed: int,
    folder: Path,
    validation: Sequence[Bag],
    progress: Progress,
    accelerator: str,
) -> None:
    """Train ``network``, from a checkpoint if one exists; afterwards it has the weights that the recipe selects."""
    # Lightning takes longer to import than torch, and many a recipe trains no encoder.
    import lightning.pytorch as pl
    from lightning.pytorch.loggers import TensorBoardLogger
    from lightning.pytorch.strategies import DDPStrategy

    from models.detectors.mist.encoder_module import EncoderModule, finite
    from models.jobs.lightning_parts import CheckpointFile, KeepEveryEpoch, interruptible, quiet

    world, local = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if (scarcest := 2 * _smallest_batch(bags, recipe)) < world:
        raise TrainingError(f"{world} processes share steps of {scarcest} videos; each needs at least one: start fewer")
    if 0 < len(validation) < world:
        raise TrainingError(
            f"{world} processes share {len(validation)} validation videos; each needs at least one: start fewer"
        )
    gpu = accelerator in _ON_A_GPU and torch.cuda.is_available()
    precision = recipe.precision_on(gpu=gpu)
    recipe = recipe.model_copy(update={"precision": precision})  # a checkpoint is of what was computed, not of "auto"
    folder.mkdir(parents=True, exist_ok=True)
    file, identity = folder / CHECKPOINT_FILE, _identity(network, bags, recipe, seed)
    resume = resumable(file, identity)
    module = EncoderModule(network, recipe, bags, seed, validation)
    with quiet(), interruptible():
        trainer = pl.Trainer(
            accelerator=accelerator,
            devices=local,
            num_nodes=world // local,
            # In its frozen epochs an encoder's backbone has no gradients, and the processes must not wait for them.
            strategy=DDPStrategy(find_unused_parameters=isinstance(network, AttentionEncoder)) if world > 1 else "auto",
            precision=_PRECISION[precision],
            max_epochs=recipe.epochs,
            accumulate_grad_batches=recipe.accumulation,
            gradient_clip_val=recipe.gradient_clip,
            limit_val_batches=1.0 if validation else 0,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            logger=TensorBoardLogger(folder, name=CURVES, version=""),
            log_every_n_steps=1,
            callbacks=[KeepEveryEpoch(file, identity, progress)],
            plugins=[CheckpointFile()],
            default_root_dir=folder,
        )
        try:
            trainer.fit(module, ckpt_path=file if resume else None, weights_only=True)
        except torch.OutOfMemoryError:
            raise TrainingError(
                f"no memory left on the GPU for a step of {2 * recipe.batch} videos: lower encoder.batch (and raise "
                "encoder.accumulation as much), or see what else runs there"
            ) from None
    if not finite(network):  # an earlier version kept such weights
        raise TrainingError(f"{file}: its weights are not finite; remove it, and lower the learning rate")
    if recipe.select == "validation":
        assert module.best is not None
        network.load_state_dict(module.best["weights"])


def _check(bags: Sequence[Bag], validation: Sequence[Bag], recipe: EncoderRecipe, size: str) -> None:
    if recipe.size != size:
        raise TrainingError(f"recipe {recipe.name} is of size {recipe.size}; expected size {size}")
    for what, some in (("training", bags), ("validation", validation)):
        counts = [sum(bag.label == label for bag in some) for label in (0, 1)]
        if 0 in counts and (some or what == "training"):
            raise TrainingError(
                f"{what} needs normal and abnormal videos, got {counts[0]} normal (label 0) and "
                f"{counts[1]} abnormal (label 1)"
            )
    if recipe.select == "validation" and not validation:
        raise TrainingError("the recipe selects an epoch by validation, and no videos are kept for validation")
    if len({tuple(values.shape[1:] for values in bag.inputs) for bag in (*bags, *validation)}) != 1:
        raise TrainingError("the videos' maps or clips have different shapes: they come from different settings")
    for bag in bags:
        views = bag.views if isinstance(bag, LabelledMaps) else ()
        shapes = {tuple(values.shape for values in inputs) for inputs in (bag.inputs, *views)}
        if len(shapes) != 1 or any(len(values) != len(bag.soft) for values in bag.inputs) or not len(bag.soft):
            raise TrainingError("a video needs as many maps or clips as soft labels and clips of each view, at least 1")
        if not ((bag.soft >= 0) & (bag.soft <= 1)).all():
            raise TrainingError("soft labels must lie in [0, 1]")


def _smallest_batch(bags: Sequence[Bag], recipe: EncoderRecipe) -> int:
    """Return the number of videos of each label in the smallest step of an epoch."""
    fewer = min(sum(bag.label == label for bag in bags) for label in (0, 1))
    return fewer // -(-fewer // recipe.batch)


def _identity(network: Network, bags: Sequence[Bag], recipe: EncoderRecipe, seed: int) -> str:
    """Return a hash that identifies a training, as far as possible without reading all maps or clips."""
    shapes = {name: list(values.shape) for name, values in network.state_dict().items()}
    settings = [recipe.model_dump(mode="json", exclude={"name", "workers"}), seed, shapes, [bag.label for bag in bags]]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for bag in bags:
        digest.update(bag.soft.astype("<f4").tobytes())
    return digest.hexdigest()
