"""Settings of the generator's training, that is, stage 1."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Recipe(BaseModel):
    """Settings of the generator's training.

    Attributes:
        loss: the paper's or the reference's form of the ranking loss.
        top_k: of the reference's form.
        sub_bags, sub_bag_clips: L and T of the sparse continuous sampling.
        shared_shift: see :func:`sparse_continuous`.
        sparsity: λ of the loss.
        gradient_clip: greatest norm of the gradient.
        batch: videos of each label in a step.
        epochs: passes over the smaller of the two sets.
        unit_length: scale each feature vector to length 1 first.
        standardise: put the training features' mean and spread in front of the network.
        heads: the generator, a linear head (:mod:`models.detectors.mist.linear_head`), or both: the mean of their
            logits, each divided by its spread over the training clips.
        linear_strength: C of the linear head.
        members: number of generators of an equal part of the width, trained one by one and laid side by side: the mean
            of several seeds at the cost of one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    loss: Literal["paper", "reference"]
    top_k: int = Field(7, ge=1)
    sub_bags: int = Field(32, ge=1)
    sub_bag_clips: int = Field(3, ge=1)
    shared_shift: bool = False
    sparsity: float = Field(0.01, ge=0)
    optimiser: Literal["adagrad", "adamw"] = "adagrad"
    learning_rate: float = Field(0.01, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    gradient_clip: float = Field(10.0, gt=0)
    batch: int = Field(30, ge=1)
    epochs: int = Field(ge=1)
    unit_length: bool = False
    standardise: bool = False
    dropout: float = Field(0.6, ge=0, lt=1)
    members: Literal[1, 2, 4, 8] = 1
    heads: Literal["generator", "linear", "both"] = "generator"
    linear_strength: float = Field(3e-4, gt=0)


#: Found on the fights (videos of about five overlapping clips). A step costs little, so it is also the default.
SHORT_VIDEOS = Recipe(
    name="short-videos",
    loss="reference",
    top_k=2,
    sub_bags=4,
    sub_bag_clips=2,
    unit_length=True,
    standardise=True,
    epochs=10,
    members=4,
    batch=40,
)
