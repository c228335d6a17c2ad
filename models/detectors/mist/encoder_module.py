"""Stage 2 as a Lightning module: a step's loss, the validation, and the content of a checkpoint beside the weights.

Everything that depends on the epoch (learning rate, random numbers, whether the backbone learns) is computed from its
number alone, so a training that continues from a checkpoint of Lightning's is exact without any other state.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from models.detectors.mist.encoder import AttentionEncoder, encoder_maps, unfreeze
from models.detectors.mist.encoder_data import Bag, Batch, Chunk, EpochSteps, ScoredData, StepData
from models.detectors.mist.losses import soft_label_cross_entropy
from models.detectors.mist.sga import HeadsOutput, SelfGuidedHeads, score
from models.jobs.checkpoints import derived_seed
from models.jobs.errors import TrainingError
from models.jobs.separation import video_auc

if TYPE_CHECKING:
    from models.detectors.mist.encoder_recipe import EncoderRecipe


class Best(TypedDict):
    """The best epoch so far by the validation."""

    auc: float
    loss: float  #: decides between equal AUCs
    epoch: int
    weights: dict[str, Tensor]


class EncoderModule(pl.LightningModule):
    """Stage 2.

    Args:
        network: heads that are trained on maps, or an encoder that is trained on clips.
        validation: videos for finding the best epoch; may be empty.
    """

    def __init__(
        self,
        network: SelfGuidedHeads | AttentionEncoder,
        recipe: EncoderRecipe,
        bags: Sequence[Bag],
        seed: int,
        validation: Sequence[Bag] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self.best: Best | None = None
        self._recipe, self._seed = recipe, seed
        self._bags, self._validation = bags, validation
        self._first_epoch = 0
        self._found: dict[int, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        if isinstance(network, AttentionEncoder):
            unfreeze(network.backbone)  # all but its BatchNorm; whether it learns is a matter of the epoch

    # Input.

    def train_dataloader(self) -> DataLoader[Batch]:
        steps = EpochSteps(
            [len(bag.soft) for bag in self._bags],
            [bag.label for bag in self._bags],
            self._recipe,
            self._seed,
            process=self.trainer.global_rank,
            processes=self.trainer.world_size,
        )
        steps.set_epoch(self._first_epoch)  # Lightning does so too, but after the workers got their first steps
        return self._loader(StepData(self._bags, self._recipe), sampler=steps)

    def val_dataloader(self) -> DataLoader[Chunk]:
        trainer = self.trainer
        return self._loader(
            ScoredData(self._validation, process=trainer.global_rank, processes=trainer.world_size), shuffle=False
        )

    def _loader(self, data: Any, **options: Any) -> DataLoader[Any]:
        workers = self._recipe.workers
        # Its own generator: otherwise a loader would draw from the random numbers of the training.
        own = torch.Generator().manual_seed(0)
        return DataLoader(
            data, batch_size=None, num_workers=workers, persistent_workers=workers > 0, generator=own, **options
        )

    # Training.

    def forward(self, *inputs: Tensor) -> HeadsOutput:
        """Return the heads' output for early and late maps, or for uint8 clips."""
        output: HeadsOutput
        if isinstance(self.network, SelfGuidedHeads):
            output = self.network(*(values.float() for values in inputs))
            return output
        # Without gradients there, not frozen: DistributedDataParallel must know at the start which parts will learn.
        learns = torch.is_grad_enabled() and self.current_epoch >= self._recipe.frozen_epochs
        with torch.set_grad_enabled(learns):
            maps = encoder_maps(self.network.backbone, *inputs)
        output = self.network.heads(*maps)
        return output

    def training_step(self, batch: Batch, _ordinal: int) -> Tensor:
        output = self(*batch.inputs)
        losses = self._losses(output, batch.soft)
        # The sum over this process' clips, as a share of all clips of the step: see Step.share.
        weighted, guided = (loss.sum() * batch.share for loss in losses)
        total = weighted + self._recipe.guided_weight * guided
        if not torch.isfinite(total):
            raise self._diverged(f"the loss is {total.item()}")
        for name, value in (("loss", total), ("weighted", weighted), ("guided", guided)):
            self.log(f"training/{name}", value.detach(), on_step=False, on_epoch=True, batch_size=1, sync_dist=True)
        return total

    def on_train_batch_end(self, *_: Any) -> None:
        # Once an epoch, before the validation uses the weights or a checkpoint keeps them.
        if self.trainer.is_last_batch and not finite(self.network):
            raise self._diverged("the weights are not finite")

    def _diverged(self, what: str) -> TrainingError:
        return TrainingError(
            f"epoch {self.current_epoch + 1}: {what}: the maps hold values that are not finite, or the learning rate "
            f"{self._recipe.learning_rate:g} is too high"
        )

    def _losses(self, output: HeadsOutput, soft: Tensor) -> tuple[Tensor, Tensor]:
        weights = self._recipe.class_weights
        return (
            soft_label_cross_entropy(output.weighted, soft, weights),
            soft_label_cross_entropy(output.guided, soft, weights),
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[self._recipe.optimiser]
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimiser: torch.optim.Optimizer = kind(
            parameters, lr=self._recipe.learning_rate, weight_decay=self._recipe.weight_decay
        )
        return optimiser

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(derived_seed(self._seed, self.current_epoch, self.global_rank))  # of the dropout
        if isinstance(self.network, AttentionEncoder):
            self.network.backbone.eval()
        rate = self._recipe.learning_rate * rate_factor(self._recipe, self.current_epoch)
        for optimiser in self.trainer.optimizers:
            for group in optimiser.param_groups:
                group["lr"] = rate
        self.log("training/learning_rate", rate)

    # Choice of the epoch.

    def validation_step(self, chunk: Chunk, _ordinal: int) -> None:
        output = self(*chunk.inputs)
        found = score(HeadsOutput(*(values.float() for values in output)))
        soft = torch.full_like(found, float(chunk.label))  # the video has no labels of clips
        weighted, guided = self._losses(output, soft)
        self._found[chunk.video].append((found, weighted + self._recipe.guided_weight * guided))

    def on_validation_epoch_end(self) -> None:
        figures = torch.zeros(2, len(self._validation), device=self.device)
        for video, parts in self._found.items():
            scores, losses = (torch.cat(values) for values in zip(*parts, strict=True))
            figures[:, video] = torch.stack([scores.mean(), losses.mean()])
        self._found.clear()
        # Each process has scored other videos and knows 0 of the rest.
        figures = torch.as_tensor(self.trainer.strategy.reduce(figures, reduce_op="sum")).cpu()
        if not figures.isfinite().all():
            raise self._diverged("scores of the validation are not finite")
        means = figures[0].numpy()
        auc = video_auc([bag.label for bag in self._validation], [np.array([mean]) for mean in means])
        loss = float(figures[1].mean())
        self.log("validation/auc", auc)
        self.log("validation/loss", loss)
        if self.best is None or (auc, -loss) > (self.best["auc"], -self.best["loss"]):
            weights = {name: values.detach().cpu().clone() for name, values in self.network.state_dict().items()}
            self.best = Best(auc=auc, loss=loss, epoch=self.current_epoch, weights=weights)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["best"] = self.best

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.best = checkpoint["best"]
        self._first_epoch = checkpoint["epoch"] + 1


def finite(network: nn.Module) -> bool:
    """Return whether all its weights are finite."""
    return all(bool(values.isfinite().all()) for values in network.state_dict().values())


def rate_factor(recipe: EncoderRecipe, epoch: int) -> float:
    """Return the factor of the learning rate in an epoch; the first epoch is 0."""
    if epoch < recipe.warm_up_epochs:
        return (epoch + 1) / recipe.warm_up_epochs
    if recipe.decay == "none":
        return 1.0
    past = (epoch - recipe.warm_up_epochs) / (recipe.epochs - recipe.warm_up_epochs)
    return (1 + math.cos(math.pi * past)) / 2
