"""Detectors of cameras that differ in their normal brightness, as parts of one hosting model."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import brightness_family
import numpy as np
import pytest
import torch

from models.detectors.base import FAMILIES
from models.detectors.program import ProgramNetwork, ServedProgram
from models.serving.part_export import export_part

CLIP = (4, 16, 16, 3)  #: the size of the clips
HOST = "bright"


class CellMeans(torch.nn.Module):
    """uint8 (N, 16, 16, 3) → the mean brightness of 8 × 8 cells of 2 × 2 pixels, (N, 8, 8)."""

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor]:
        return (torch.nn.functional.avg_pool2d(pictures.to(torch.float32).mean(dim=3) / 255, 2),)


def cell_means(common: str = "means of 2 × 2 pixels", weights: str = "") -> ProgramNetwork:
    """Return the network; ``common`` identifies it for all cameras; empty for a network of one camera."""
    return ProgramNetwork(CellMeans().eval(), {"PICTURE": ((16, 16, 3), "uint8")}, ("CELLS",), common, weights)


def use_programs(monkeypatch: pytest.MonkeyPatch, network: ProgramNetwork | None = None) -> None:
    """Make the family of brightness one of programs, which run a network where one is named."""

    def load(card: brightness_family.BrightnessCard, *_: object) -> ServedProgram:
        arrays = {"level": np.float32(card.training["level"])}
        if network is None:
            return ServedProgram("brightness_program", ("operators.median",), arrays)
        return ServedProgram("network_program", (), arrays, {"cells": network})

    family = dataclasses.replace(brightness_family.FAMILY, blank=None, load=load)
    monkeypatch.setattr(brightness_family, "FAMILY", family)
    monkeypatch.setitem(FAMILIES, "brightness", "brightness_family")


def put(
    folder: Path,
    camera: str,
    level: float,
    *,
    replace: bool = False,
    max_batch: int | None = None,
    on_renewed: Callable[[Path, list[int]], None] = lambda *_: None,
    **clip: object,
) -> Path:
    """Export a detector of ``camera`` whose normal brightness is ``level`` into the repository ``folder``/repository.

    Returns:
        the part's folder.
    """
    product = folder / f"{camera}-{level}-{len(list(folder.iterdir()))}"
    brightness_family.train(product, level, camera=camera, **clip)
    out = folder / "repository"
    return export_part(str(product), out, into=HOST, max_batch=max_batch, replace=replace, on_renewed=on_renewed)


def as_of_other_code(host: Path) -> None:
    """Have version 1 of a hosting model state that another version of mistwatch has written its code."""
    for config in (host / "config.pbtxt", host / "1" / "config.pbtxt"):
        config.write_text(re.sub(r'(key: "code" value \{ string_value: ")\w+', r"\1other", config.read_text()))


def grey_clip(level: float) -> np.ndarray:
    """Return a clip of one brightness, in [0, 1]: uint8 ``CLIP``."""
    return np.full(CLIP, round(level * 255), np.uint8)
