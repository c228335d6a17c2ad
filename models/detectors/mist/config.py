"""What the training job of both stages is told: a YAML file under ``configs/train``.

It is the generator's configuration (:class:`models.detectors.mist.generator_job.JobConfig`: texts of the card, clips,
layers, recipe of stage 1) and what stage 2 needs beside it. A researcher's change is a change of this file,
or ``--set``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from models.detectors.mist.encoder_recipe import EncoderRecipe
from models.detectors.mist.generator_job import ConfigError, JobConfig


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VideoChoice(_Part):
    """Which videos, and what each is for.

    Attributes:
        layout: of the folder: ``manifest`` (it holds a ``manifest.jsonl``, or is one), or a published data set's.
        folder: where they are if the command does not say, from where it is started.
        obtain: how to come by them, for who has not got them.
        hold_out: mark one of so many folds by group as split test, where the data set itself has none.
        draw: so many normal and so many abnormal videos, drawn, are for training, and all others are the test: for data
            sets that are published for training on normal videos alone.
        subset: train on so many of the training videos at most, the first ones of either label, in proportion.
        validation: share of the training videos that is kept, by group, for choosing among epochs and thresholds.
    """

    layout: Literal["manifest", "fights", "shanghaitech", "ucf-crime", "ped2", "folder"] = "manifest"
    folder: Path | None = None
    obtain: str = ""
    hold_out: int | None = Field(None, ge=2)
    draw: tuple[PositiveInt, PositiveInt] | None = None
    subset: int | None = Field(None, ge=2)
    validation: float | None = Field(None, gt=0, le=0.5)


class PseudoLabelChoice(_Part):
    """How the generator's scores become labels of clips; see :mod:`models.detectors.mist.pseudo_labels`.

    Attributes:
        kernel, twice, min_max, unstretched: see :func:`models.detectors.mist.pseudo_labels.pseudo_labels`.
        folds: score each training video by a generator that was trained on the other folds by group; None: by the one
            that was trained on all of them, as published.
    """

    kernel: Annotated[int, Field(ge=1)] = 5
    twice: bool = True
    min_max: bool | Literal["auto"] = "auto"
    unstretched: Literal["scores", "label"] = "scores"
    folds: int | None = Field(None, ge=2)

    @model_validator(mode="after")
    def _odd(self) -> PseudoLabelChoice:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, as the average is centred; got {self.kernel}")
        return self


class MistConfig(JobConfig):
    """Both stages.

    Attributes:
        videos: which videos, and what each is for.
        pseudo_labels: from stage 1 to stage 2.
        encoder: recipe of stage 2.
        grid: rows and columns of cells that the generator looks at each for itself (:func:`models.data.maps.pooled`).
        calibrate: let scores mean how often a clip like that is of an abnormal video, by the scores of unseen videos;
            else they are the weighted head's as they are, as in the papers.
        folds: figures of both stages, and thresholds, from so many folds by group, each scored by networks that were
            trained on the others, at ``seeds`` seeds. They cost ``folds`` · ``seeds`` trainings; None: no such figures.
        draws: of the bootstrap that gives the figures' intervals.
    """

    videos: VideoChoice = VideoChoice()
    pseudo_labels: PseudoLabelChoice = PseudoLabelChoice()
    encoder: EncoderRecipe
    grid: tuple[PositiveInt, PositiveInt] | None = None
    calibrate: bool = True
    folds: int | None = Field(None, ge=2)
    draws: PositiveInt = 2000

    @model_validator(mode="after")
    def _something_unseen(self) -> MistConfig:
        unseen = self.folds is not None or self.videos.validation is not None
        if not unseen and self.alerting.chosen is None:
            raise ValueError(
                "thresholds need videos that the weights have not seen: give folds, or videos.validation, or "
                "alerting.chosen"
            )
        if self.grid is not None and self.mirrored:
            raise ValueError("a grid and mirrored videos do not go together: leave one of them out")
        if self.grid is not None and self.encoder.size == "full":
            raise ValueError("a grid needs maps: encoder.size maps, or no grid")
        if self.videos.hold_out is not None and self.videos.draw is not None:
            raise ValueError("videos.hold_out and videos.draw both make a test split: leave one of them out")
        if self.encoder.select == "validation" and self.videos.validation is None:
            raise ValueError("encoder.select is validation: give videos.validation, or select last")
        return self


def read_mist_config(file: Path, changes: Sequence[str] = ()) -> MistConfig:
    """Read a recipe.

    Args:
        file: YAML.
        changes: ``key=value`` each, the key with dots between its levels, the value as in YAML.

    Raises:
        ConfigError: it cannot be read, is no YAML, or says something that it cannot; a line for each problem.
    """
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: expected a recipe: keys and values")
    for change in changes:
        _set(values, change)
    try:
        return MistConfig.model_validate(values)
    except ValidationError as error:
        lines = [
            f"{file}: {'.'.join(str(part) for part in problem['loc']) or 'the file'}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        ]
        raise ConfigError("\n".join(lines)) from None


def _set(values: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not (key and equals):
        raise ConfigError(f"--set {change}: expected key=value, like encoder.epochs=3")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {change}: {text!r} is no YAML value") from None
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {change}: {parent} has no keys below it")
    values[last] = value
