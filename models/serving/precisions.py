"""The choice of a network's precision at export, by the accuracy gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.card import ModelCard, PrecisionCost, ServedPrecision, write_card
from models.detectors.base import Progress, read_detector
from models.detectors.network import SceneNetwork, ServedNetwork
from models.engines.one_by_one import OneByOne
from models.engines.openvino import OpenVinoNetwork, cpu_capabilities, ov
from models.engines.openvino_convert import Input, to_openvino
from models.engines.precision import Precision, lacking
from models.engines.quantised import (
    QuantisationError,
    Ranges,
    calibrate,
    load_ranges,
    most_sensitive,
    quantise,
)
from models.serving.accuracy import (
    bound_of_move,
    compare_scores,
    complaint,
    in_words,
    scores_of,
    validation_clips,
)
from models.serving.engine import Engine
from models.serving.precision_wish import PrecisionWish
from models.serving.standing import StandingScenes
from operators.background import SceneKind
from pipeline.errors import MistwatchError
from pipeline.manifests.folds import group_folds
from pipeline.manifests.manifest import Video

RANGES_FILE = "int8-ranges.json"  #: of a model whose int8 network can be made without footage, beside its weights
#: Most calibration clips. NNCF runs the float32 network once for each of them; the ranges hardly change beyond.
MOST_CLIPS = 48

#: Preferred first, where ``auto`` is wanted.
_FASTEST_FIRST = (Precision.INT8, Precision.BF16)


Sample = Mapping[str, npt.NDArray[Any]]  #: a calibration clip: each input of the network by its name, (1, ...)


class PrecisionError(MistwatchError):
    """A model cannot be exported with the wanted precision."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network in OpenVINO's form, with everything that is needed to score validation clips.

    Attributes:
        network: ``openvino.Model`` in float32.
        scene_network: its part over standing scenes; None for a model that reads none.
        card: the model's.
        folder: that it came from.
        scene: kind of standing scene that the model reads.
    """

    network: Any
    scene_network: Any | None
    card: ModelCard
    folder: Path
    scene: SceneKind | None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The network to be served.

    Attributes:
        ranges: of int8 that was measured here.
    """

    network: Any
    served: ServedPrecision
    ranges: Ranges | None = None


def choose(candidate: Candidate, wish: PrecisionWish, progress: Progress) -> Chosen:
    """Return the network in the wanted precision, or in the fastest one that this processor has and the gate accepts.

    Raises:
        PrecisionError: the processor lacks the precision, its accuracy is unknown, or the gate refuses it.
        QuantisationError: the network cannot be quantised.
        ImportError: NNCF is needed and missing.
    """
    unmeasured = not wish.videos and not candidate.card.precisions
    if wish.precision is Precision.AUTO and unmeasured and wish.force:
        raise PrecisionError(
            f"--force: the card of {candidate.folder.name} has no figures by which auto could choose; expected "
            "--validate MANIFEST, or --precision bf16"
        )
    if wish.precision is Precision.FP32 or (wish.precision is Precision.AUTO and unmeasured):
        return Chosen(candidate.network, ServedPrecision(precision="fp32"))
    if wish.precision is Precision.FP16:
        raise PrecisionError(
            "--precision fp16: OpenVINO computes in fp32, bf16 or int8 on a CPU; expected one of these, or auto"
        )
    capabilities = cpu_capabilities()
    if wish.precision is not Precision.AUTO:
        if lacks := lacking(wish.precision, capabilities):
            if not wish.force:
                raise PrecisionError(
                    f"--precision {wish.precision}: {lacks} (OpenVINO has {', '.join(capabilities)}); expected "
                    "--precision auto or fp32; --force exports for another machine, and this one computes in float32"
                )
            progress(f"--precision {wish.precision}: {lacks}; here it will compute in float32")
            if wish.precision is Precision.BF16:  # its files need no footage, and scores here would be those of float32
                unknown = ServedPrecision(precision="bf16", forced=True, note=f"not measured: {lacks}")
                return Chosen(candidate.network, unknown)
        return _gated(candidate, wish.precision, wish, progress)
    reasons = []
    for precision in _FASTEST_FIRST:
        if lacks := lacking(precision, capabilities):
            reasons.append(f"{precision}: {lacks}")
            continue
        try:
            return _gated(candidate, precision, wish, progress)
        except (PrecisionError, QuantisationError) as error:
            reasons.append(str(error))
        except ImportError as error:
            reasons.append(f"{precision}: the package {error.name} is missing")
    for reason in reasons:
        progress(f"not served: {reason}")
    return Chosen(candidate.network, ServedPrecision(precision="fp32", note="; ".join(reasons)))


def _gated(candidate: Candidate, precision: Precision, wish: PrecisionWish, progress: Progress) -> Chosen:
    """Return the network in one precision. Raises PrecisionError: the gate refuses it, or has no figures of it."""
    cost: PrecisionCost | None
    if wish.videos:
        sets = halves(wish.videos, wish.validation)
        network, cost, ranges = measure(candidate, precision, sets, progress)
    else:
        ranges = None
        cost = next((one for one in candidate.card.precisions if one.precision == precision.value), None)
        if cost is None and (precision is Precision.INT8 or not wish.force):
            needs = "it also gives the calibration clips" if precision is Precision.INT8 else "or --force"
            raise PrecisionError(
                f"{precision}: the card of {candidate.folder.name} has no figures of its accuracy; measure it with "
                f"--validate MANIFEST ({needs})"
            )
        network = candidate.network
        if precision is Precision.INT8 and cost is not None:
            kept = load_ranges(candidate.folder / RANGES_FILE, sha256=cost.ranges_sha256)
            network = quantise(network, kept.without(cost.in_float))
    refused = complaint(cost) if cost is not None else "its accuracy is unknown"
    if refused and not wish.force:
        raise PrecisionError(f"{precision}: the accuracy gate refuses it: {refused}; --force writes it nevertheless")
    if refused:
        progress(f"{precision}, forced: {refused}")
    elif cost is not None:
        progress(in_words(cost))
    served = ServedPrecision.model_validate(
        {"precision": precision.value, "cost": cost, "forced": bool(refused), "note": refused}
    )
    return Chosen(network, served, ranges)


@dataclass(frozen=True, slots=True)
class ValidationSets:
    """Videos for the choice of an int8 network, and other ones for its figures.

    Attributes:
        choosing_from, judging_from: names of the two sets, for the card.
    """

    choosing: Sequence[Video]
    judging: Sequence[Video]
    choosing_from: str
    judging_from: str


def halves(videos: Sequence[Video], name: str) -> ValidationSets:
    """Divide videos into halves of whole groups.

    Raises:
        PrecisionError: they are of one group alone.
    """
    try:
        first, second = group_folds(videos, 2, 0)
    except ValueError:
        groups = len({video.group for video in videos})
        raise PrecisionError(
            f"--validate: expected videos of at least 2 groups, one half for calibration and one for the figures; "
            f"got {groups}"
        ) from None
    return ValidationSets(
        [videos[i] for i in first], [videos[i] for i in second], f"the other half of {name}", f"a half of {name}"
    )


def keep_int8(folder: Path, sets: ValidationSets, progress: Progress = lambda _: None) -> PrecisionCost:
    """Measure int8 of the model in ``folder``, and keep its ranges and its cost there, in the card.

    An export of the model then needs neither footage nor NNCF.

    Raises: see :func:`measure`; and PrecisionError: the model has no network.
    """
    family, card = read_detector(folder)
    network = family.load(card, folder, progress)
    if not isinstance(network, ServedNetwork):
        raise PrecisionError(f"{folder}: a model of the family {family.name} is a program, which has no int8")
    candidate = converted(network, card, folder, family.scene(card))
    _, cost, ranges = measure(candidate, Precision.INT8, sets, progress)
    assert ranges is not None
    ranges.save(folder / RANGES_FILE)
    others = [one for one in card.precisions if one.precision != cost.precision]
    write_card(card.model_copy(update={"precisions": (*others, cost)}), folder)
    return cost


def converted(network: ServedNetwork, card: ModelCard, folder: Path, scene: SceneKind | None) -> Candidate:
    """Return a served network in OpenVINO's form.

    Args:
        folder: that the model came from.
        scene: kind of standing scene that the model reads.
    """
    import torch

    size = (card.clip.height, card.clip.width, 3)
    inputs = {"CLIP": Input((card.clip.frames, *size))}
    standing = None
    if isinstance(network, SceneNetwork):
        with torch.inference_mode():
            found = network.standing(torch.zeros(1, *size, dtype=torch.uint8))
        of_scene = zip(network.of_scene, found, strict=True)
        inputs |= {name: Input(tuple(tensor.shape[1:]), tensor.dtype) for name, tensor in of_scene}
        standing = to_openvino(network.standing, {"SCENE": Input(size)}, network.of_scene)
    return Candidate(to_openvino(network, inputs, network.outputs), standing, card, folder, scene)


def measure(
    candidate: Candidate, precision: Precision, sets: ValidationSets, progress: Progress
) -> tuple[Any, PrecisionCost, Ranges | None]:
    """Measure the cost of int8 or bfloat16 on validation videos.

    Returns:
        The network, its cost on the videos for the figures, and the ranges of int8.

    Raises:
        PrecisionError: this processor lacks the precision, or the videos give too few calibration clips, or none for
            the figures.
        pipeline.sources.base.SourceError: a video cannot be read.
    """
    if lacks := lacking(precision, cpu_capabilities()):
        raise PrecisionError(f"{precision} cannot be measured here: {lacks}; measure it on a processor that has it")
    opened = _Opened(candidate)
    if precision is not Precision.INT8:
        progress(f"measuring {precision} on {len(sets.judging)} videos")
        other = opened.engine(candidate.network, precision)
        return candidate.network, opened.cost(other, precision, sets), None
    progress(f"calibrating int8 on clips of {len(sets.choosing)} videos")
    samples = opened.samples(sets.choosing)
    try:
        ranges = calibrate(candidate.network, samples)
    except QuantisationError as error:
        raise PrecisionError(f"int8: {error}") from None
    in_float = opened.layers_that_hurt(ranges, samples, progress)
    network = quantise(candidate.network, ranges.without(in_float))
    progress(f"measuring int8 on {len(sets.judging)} videos")
    cost = opened.cost(opened.engine(network), precision, sets)
    about = {
        "calibration": sets.choosing_from,
        "calibration_clips": len(samples),
        "in_float": tuple(in_float),
        "ranges_sha256": ranges.digest(),
    }
    return network, cost.model_copy(update=about), ranges


class _Opened:
    """A candidate, opened in float32, and the scoring of clips with it."""

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        clip = candidate.card.clip
        self._size = (clip.frames, clip.height, clip.width, 3)
        scene = candidate.scene_network
        self._standing = None if scene is None else StandingScenes(OpenVinoNetwork(scene, threads=0))
        self._precise_network = OpenVinoNetwork(candidate.network, threads=0)
        self._precise = Engine(OneByOne(self._precise_network), self._size, self._standing)

    def engine(self, network: Any, precision: Precision = Precision.FP32) -> Engine:
        """Return a network as it is served."""
        opened = OneByOne(OpenVinoNetwork(network, threads=0, precision=precision))
        return Engine(opened, self._size, self._standing)

    def samples(self, videos: Sequence[Video]) -> list[Sample]:
        """Return calibration clips from all videos alike, each with the features of its scene."""
        chosen = videos[:: -(-len(videos) // MOST_CLIPS)]
        each = -(-MOST_CLIPS // len(chosen))
        taken = dict.fromkeys(range(len(chosen)), 0)
        found: list[Sample] = []
        for clip in validation_clips(chosen, self._candidate.card, self._candidate.scene):
            if taken[clip.video] < each and len(found) < MOST_CLIPS:
                taken[clip.video] += 1
                scenes = {} if self._standing is None else self._standing.of_clips(clip.pixels[None], [clip.scene])
                found.append({"CLIP": clip.pixels[None], **scenes})
        return found

    def layers_that_hurt(self, ranges: Ranges, samples: Sequence[Sample], progress: Progress) -> list[str]:
        """Return the blocks that must stay in float32 for calibration clips to keep half of the gate's bound.

        Half, because the gate judges other clips, which may move further.
        """
        most = bound_of_move(self._candidate.card.alerting) / 2
        expected = self._scores(self._precise_network, samples)

        def cost(fewer: Ranges) -> float:
            network = OpenVinoNetwork(quantise(self._candidate.network, fewer), threads=0)
            return float(np.abs(self._scores(network, samples) - expected).max())

        return most_sensitive(ranges, cost, most, on_step=progress)

    @staticmethod
    def _scores(network: OpenVinoNetwork, samples: Sequence[Sample]) -> npt.NDArray[np.float32]:
        return np.array([network.run(sample)["SCORE"].item() for sample in samples])

    def cost(self, other: Engine, precision: Precision, sets: ValidationSets) -> PrecisionCost:
        """Score the videos for the figures in float32 and with another engine; return the other one's cost."""
        videos = sets.judging
        scores: tuple[list[list[float]], list[list[float]]] = ([[] for _ in videos], [[] for _ in videos])
        for clip in validation_clips(videos, self._candidate.card, self._candidate.scene):
            for engine, of_engine in zip((self._precise, other), scores, strict=True):
                of_engine[clip.video].append(scores_of(engine, clip))
        alerting = self._candidate.card.alerting
        try:
            found = compare_scores(videos, *scores, kernel=alerting.kernel)
        except ValueError as error:
            raise PrecisionError(f"--validate: {error}; expected videos of at least one clip") from None
        return PrecisionCost.model_validate(
            {
                **found.model_dump(),
                "precision": precision.value,
                "validation": sets.judging_from,
                "bound": bound_of_move(alerting),
                "processor": processor(),
            }
        )


def processor() -> str:
    """Return the name of this processor, as OpenVINO gives it."""
    return str(ov.Core().get_property("CPU", "FULL_DEVICE_NAME"))
