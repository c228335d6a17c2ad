"""The training job of MIST: from videos with one label each to a product that can be served.

    features ─► generator ─► pseudo-labels ─► encoder ─► product ─► repository
        └─────► folds ──────────────────────────────────────┘

Each is a stage (:mod:`models.jobs.stages`): a folder of the run, made again when something that it depends on has
changed. Videos of split test reach ``features`` and ``product`` alone; what is chosen is chosen on videos that are
neither trained on nor tested.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.backbones.i3d import I3D
from models.card import ModelCard, read_card
from models.data.video_store import FeaturesError
from models.detectors.mist.both_stages import BothStages, Network, Progress, encoder_logits
from models.detectors.mist.card import Architecture, SelfGuidedArchitecture
from models.detectors.mist.config import MistConfig
from models.detectors.mist.encoder import WEIGHTS_FILE as ENCODER_FILE
from models.detectors.mist.encoder import AttentionEncoder, save_encoder
from models.detectors.mist.encoder_training import CHECKPOINT_FILE
from models.detectors.mist.footage import ClipTimes, Footage, names_of
from models.detectors.mist.generator import WEIGHTS_FILE as GENERATOR_FILE
from models.detectors.mist.generator import Generator, save_generator
from models.detectors.mist.generator_training import Bag, clip_logits
from models.detectors.mist.product import LABELS_FILE, Evidence, VideoScores, write_product
from models.detectors.mist.sga import SelfGuidedHeads
from models.jobs.code import code_modules
from models.jobs.repository import Export, Repository
from models.jobs.stages import SCRATCH, Done, Place, Stages, code_digest
from models.jobs.thresholds import probe_scores, usable_kernels
from models.jobs.video_plan import planned
from models.serving.export import export_entries, export_tools
from models.tensors import load_tensors
from pipeline.manifests.checks import readable, refuse
from pipeline.manifests.manifest import Video, listed, manifest_digest
from pipeline.sources.base import SourceError
from pipeline.sources.recordings import open_recording

STAGES = ("features", "generator", "pseudo-labels", "encoder", "folds", "product", "repository")

#: How a recording becomes clips.
_CUTTING = (
    "pipeline.sources.decode",
    "pipeline.sources.files",
    "pipeline.sources.frame_folder",
    "pipeline.sources.frame_index",
    "pipeline.sources.lost_pictures",
    "pipeline.sources.recordings",
    "pipeline.sources.resample",
    "pipeline.sources.scale",
    "pipeline.sources.timeline",
    "pipeline.windows",
)
#: What is read of what the cache has. What the cache has was made by code whose changes its names tell.
_READING = (
    "models.data.clip_store",
    "models.data.features",
    "models.data.maps",
    "models.data.npy_rows",
    "models.data.video_store",
    "models.detectors.mist.footage",
)
_GENERATOR = (
    "models.detectors.mist.generator",
    "models.detectors.mist.generator_training",
    "models.detectors.mist.losses",
    "models.detectors.mist.sampling",
    "models.detectors.mist.standardising",
)
_SMOOTHING = ("operators.continuity", "operators.smoothing")
_GENERATOR_STAGE = (*_READING, *_GENERATOR, "models.detectors.mist.both_stages")
_LABEL_STAGE = (
    *_GENERATOR_STAGE,
    *_SMOOTHING,
    "models.jobs.thresholds",
    "models.detectors.mist.pseudo_labels",
    "pipeline.manifests.folds",
)
_ENCODER_STAGE = (
    *_READING,
    "models.backbones.base",
    "models.detectors.mist.encoder",
    "models.backbones.i3d",
    "models.detectors.mist.sga",
    "models.detectors.mist.both_stages",
    "models.detectors.mist.encoder_data",
    "models.detectors.mist.encoder_module",
    "models.detectors.mist.encoder_training",
    "models.jobs.thresholds",
    "models.detectors.mist.losses",
    "models.detectors.mist.sampling",
    "models.detectors.mist.standardising",
)

#: What each stage's result depends on, beside what it is given. A test holds this complete.
_CODE = {
    "features": (
        *_CUTTING,
        *_READING,
        "models.backbones.base",
        "models.data.extraction",
        "models.backbones.i3d",
        "models.data.backbone_engines",
        "models.engines.openvino_convert",
        "models.engines.openvino",
    ),
    "generator": _GENERATOR_STAGE,
    "pseudo-labels": _LABEL_STAGE,
    "encoder": _ENCODER_STAGE,
    "folds": (*_LABEL_STAGE, *_ENCODER_STAGE),
    "product": (
        *_CUTTING,  # a recording's frames are counted anew
        *_READING,
        *_SMOOTHING,
        "models.backbones.base",
        "models.card",
        "models.detectors.mist.encoder",
        "models.detectors.mist.generator",
        "models.backbones.i3d",
        "models.detectors.mist.sga",
        "models.detectors.mist.both_stages",
        "models.detectors.mist.encoder_data",
        "models.detectors.mist.encoder_training",
        "models.jobs.thresholds",
        "models.detectors.mist.generator_training",
        "models.detectors.mist.product",
        "operators.figures.bootstrap",
        "operators.figures.ranked",
        "operators.figures.videos",
        "pipeline.manifests.folds",
        "pipeline.manifests.manifest",
    ),
    "repository": tuple(code_modules(export_entries("mist"))),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job has done.

    Attributes:
        stages: those that it went through, in order.
        card: of the product; None where the job ended before it.
        skipped: videos that were left out, a line each that says why.
        damaged: videos of which not all could be decoded and which are used as far as they go, a line each.
    """

    stages: tuple[Done, ...]
    card: ModelCard | None
    skipped: tuple[str, ...]
    damaged: tuple[str, ...] = ()


def train_mist(
    videos: Sequence[Video],
    config: MistConfig,
    out: Path,
    *,
    seed: int = 0,
    only: str | None = None,
    skip_bad: bool = False,
    export: Export | None = None,
    footage: Footage | None = None,
    tell: Callable[[str], None] = lambda _line: None,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Run the job, or what of it is not up to date.

    Args:
        videos: of a manifest or an adapter.
        config: the recipe.
        out: the run's folder; made when missing.
        seed: of all that is drawn.
        only: run this stage alone; those before it must be up to date, those after it are not looked at.
        skip_bad: leave out videos that cannot be read, and list them.
        export: writes a model repository from a product's folder: (product, repository). None: there is none.
        footage: what the networks see; from the user's cache when None.
        tell: told, a line each, which stages run.
        progress: told of every step.

    Raises:
        TrainingError: the videos cannot be divided as the recipe says, a part of them lacks a label, a number is none.
        FeaturesError: some videos cannot be read; a line each.
        StageError: a stage before ``only`` is not up to date, or another job is at work in ``out``.
        models.backbones.weights.WeightsError: the backbone's weights are not here.
        OSError: ``out`` cannot be written.
    """
    stages = Stages(out, only=only, tell=tell)
    with stages.alone():
        job = _Job(videos, config, stages, seed, skip_bad, footage or Footage(config), progress)
        done: list[Done] = []
        steps: list[tuple[str, Callable[[], list[Done]]]] = [
            ("features", job.features),
            ("generator", job.generator),
            ("pseudo-labels", job.pseudo_labels),
            ("encoder", job.encoder),
            ("folds", job.folds),
            ("product", job.product),
            ("repository", lambda: job.repository(export) if export is not None else []),
        ]
        for name, step in steps:
            done += step()
            if name == only:
                break
    return Outcome(tuple(done), job.card, job.skipped, job.damaged)


class _Job:
    """One run; the methods are its stages, in order."""

    def __init__(
        self,
        videos: Sequence[Video],
        config: MistConfig,
        stages: Stages,
        seed: int,
        skip_bad: bool,
        footage: Footage,
        progress: Progress,
    ) -> None:
        self.config, self.stages, self.seed, self.footage = config, stages, seed, footage
        self.progress = progress
        self.card: ModelCard | None = None
        self.skipped: tuple[str, ...] = ()
        self.damaged: tuple[str, ...] = ()
        self._skipped: list[str] = []  # by their names
        self._damaged: list[str] = []  # likewise
        self._skip_bad = skip_bad
        self._names = names_of(videos)
        self._contents = {video.path: _content(video) for video in videos}
        folds = config.folds is not None or config.pseudo_labels.folds is not None
        self._plan = planned(videos, config.videos, seed, contents=self._contents, folds=folds)
        self._both = BothStages(config, footage, seed, progress)
        self._both.check_divisions(self._plan.train, self._plan.known)
        self._done: dict[str, Done] = {}

    # -- the stages ----------------------------------------------------------------------------------------------------

    def features(self) -> list[Done]:
        """``clips.json``: how many clips each video has, which videos are damaged, and which are left out and why. The
        maps are in the cache, whose names hold all that they depend on."""
        everything = (*self._plan.known, *self._plan.test)

        def work(draft: Path) -> None:
            good, unreadable = readable(everything, progress=lambda done, total: self.progress("videos", done, total))
            if not self._skip_bad:
                refuse(unreadable)
            bad = {one.video.path: one.reason for one in unreadable}
            judged = {v.path for v in (everything if self.config.folds else (*self._plan.validation, *self._plan.test))}
            known = {video.path for video in self._plan.known}
            bad |= self.footage.fill(
                [video for video in good if video.path in known],
                [video for video in good if video.path in judged],
                progress=lambda done, total: self.progress("features", done, total),
            )
            if bad and not self._skip_bad:
                raise FeaturesError(listed(list(bad.values()), "{} more videos cannot be used"))
            found = {
                self._names[v.path]: self.footage.clips(v, live=v.path not in known)
                for v in everything
                if v.path not in bad
            }
            about = {
                "clips": {name: len(clips) for name, clips in found.items()},
                "live": {
                    self._names[v.path]: len(self.footage.clips(v, live=True))
                    for v in everything
                    if v.path in judged and v.path not in bad
                },
                "damaged": {name: clips.damage for name, clips in found.items() if clips.damage},
                "skipped": {self._names[path]: reason for path, reason in bad.items()},
            }
            _write_json(draft / "clips.json", about)

        inputs = {
            "videos": [self._named(part) for part in (self._plan.train, self._plan.validation, self._plan.test)],
            "truth": self._truth(everything),
            "settings": self.footage.settings,
            "folds": self.config.folds is not None,
            "skip_bad": self._skip_bad,
        }
        done = self._run("features", inputs, work)
        found = json.loads((done.folder / "clips.json").read_text(encoding="utf-8"))
        short = [name for name, clips in found["clips"].items() if not clips]
        self._skipped = [*found["skipped"], *short]
        self.skipped = (*found["skipped"].values(), *(f"{name}: shorter than one clip" for name in short))
        self._damaged = [name for name in found["damaged"] if found["clips"][name]]
        self.damaged = tuple(f"{name}: {found['damaged'][name]}" for name in self._damaged)
        self._plan = self._plan.of({path for path, name in self._names.items() if found["clips"].get(name)})
        self._both.check_divisions(self._plan.train, self._plan.known)
        if self.config.alerting.chosen is None:  # better told now than after the training
            unseen = self._plan.known if self.config.folds else self._plan.validation
            usable_kernels(self.config.alerting.kernels, [found["live"][self._names[video.path]] for video in unseen])
        return [done]

    def generator(self) -> list[Done]:
        """Stage 1 on all training videos: ``generator.safetensors``."""

        def work(draft: Path) -> None:
            generator = self._both.generator(self._plan.train, self.seed)
            sha256 = save_generator(generator, draft)
            _write_json(
                draft / "generator.json",
                {"sha256": sha256, "architecture": generator.architecture.model_dump(mode="json")},
            )

        inputs = {
            "videos": self._identity(self._plan.train),
            "footage": self.footage.settings,
            "recipe": self.config.recipe.model_dump(mode="json"),
            "seed": self.seed,
        }
        return [self._run("generator", inputs, work)]

    def pseudo_labels(self) -> list[Done]:
        """Soft labels of the training videos' clips: ``pseudo-labels.jsonl``."""

        def work(draft: Path) -> None:
            soft = self._both.soft_labels(self._plan.train, _load_generator(self._done["generator"].folder), self.seed)
            rows = [
                {"video": self._names[video.path], "label": video.label, "clips": [float(value) for value in values]}
                for video, values in zip(self._plan.train, soft, strict=True)
            ]
            _write_lines(draft / LABELS_FILE, rows)

        inputs = {
            "videos": self._named(self._plan.train),
            "generator": self._done["generator"].digest,
            "choice": self.config.pseudo_labels.model_dump(mode="json"),
            "footage": self.footage.settings,
            "recipe": self.config.recipe.model_dump(mode="json") if self.config.pseudo_labels.folds else None,
            "seed": self.seed,
        }
        return [self._run("pseudo-labels", inputs, work)]

    def encoder(self) -> list[Done]:
        """Stage 2 on the pseudo labels: ``encoder.safetensors``."""

        def work(draft: Path) -> None:
            rows = _read_lines(self._done["pseudo-labels"].folder / LABELS_FILE)
            soft = {row["video"]: np.array(row["clips"], np.float32) for row in rows}
            labels = [soft[self._names[video.path]] for video in self._plan.train]
            network = self._both.encoder(self._plan.train, labels, self._plan.validation, self.seed, draft / SCRATCH)
            if self.stages.first:
                _save_network(network, draft)
                (draft / SCRATCH / CHECKPOINT_FILE).unlink(missing_ok=True)

        inputs = {
            "videos": [self._named(self._plan.train), self._identity(self._plan.validation)],
            "labels": self._done["pseudo-labels"].digest,
            "footage": self.footage.settings,
            "recipe": self.config.encoder.model_dump(mode="json"),
            "seed": self.seed,
        }
        return [self._run("encoder", inputs, work, together=True)]

    def folds(self) -> list[Done]:
        """Both stages on all folds but one, for each of them and each seed: ``scores.jsonl`` of that one's videos."""
        known = self._plan.known
        divided = self._both.folds(known)
        done = []
        for seed in range(self.seed, self.seed + self.config.seeds):
            for ordinal, fold in enumerate(divided):
                done.append(self._fold(known, fold, seed, f"folds/seed-{seed}/fold-{ordinal}"))
                self.progress("folds", len(done), self.config.seeds * len(divided))
        return done

    def product(self) -> list[Done]:
        """What is served and what is known of it."""
        encoder, labels = self._done["encoder"], self._done["pseudo-labels"]

        def work(draft: Path) -> None:
            generator, network = _load_generator(self._done["generator"].folder), _load_network(encoder.folder)
            folds = self._fold_scores()
            evidence = Evidence(
                folds=folds,
                validation=[self._scores(video, generator, network) for video in self._plan.validation],
                test=[self._scores(video, generator, network) for video in self._plan.test],
                probe=self._probe() if folds else None,
            )
            write_product(draft, self.config, network, labels.folder / LABELS_FILE, evidence, self._about())

        inputs = {
            "encoder": encoder.digest,
            "labels": labels.digest,
            "generator": self._done["generator"].digest,
            "folds": [done.digest for name, done in self._done.items() if name.startswith("folds/")],
            "videos": [self._named(part) for part in (self._plan.train, self._plan.validation, self._plan.test)],
            "truth": self._truth((*self._plan.known, *self._plan.test)),
            "skipped": self._skipped,
            "damaged": self._damaged,
            "footage": self.footage.settings,
            "config": self.config.model_dump(mode="json"),
            "seed": self.seed,
        }
        done = self._run("product", inputs, work)
        self.card = read_card(done.folder)
        return [done]

    def repository(self, export: Export) -> list[Done]:
        """The product as a version in a model repository."""
        product = self._done["product"]
        place = Repository(self.stages.folder / "repository", product.folder)
        inputs = {"product": product.digest, "tools": export_tools()}
        return [self._run("repository", inputs, lambda draft: place.fill(draft, export), place=place)]

    # -- what they are made of -----------------------------------------------------------------------------------------

    def _run(
        self,
        name: str,
        inputs: dict[str, Any],
        work: Callable[[Path], None],
        *,
        together: bool = False,
        place: Place | None = None,
    ) -> Done:
        code = code_digest(_CODE[name.partition("/")[0]])
        done = self.stages.run(name, {"code": code, **inputs}, work, together=together, place=place)
        self._done[name] = done
        return done

    def _identity(self, videos: Sequence[Video]) -> list[list[Any]]:
        """What a training knows of its videos; where they are, it does not."""
        own = [(video, video.group == str(video.path)) for video in videos]
        return [[self._contents[v.path], v.label, self._names[v.path] if alone else v.group] for v, alone in own]

    def _named(self, videos: Sequence[Video]) -> list[list[Any]]:
        """Likewise, for stages of which something is looked up by the videos' names; they say nothing of the place."""
        own = zip(videos, self._identity(videos), strict=True)
        return [[self._names[video.path], *identity] for video, identity in own]

    def _truth(self, videos: Sequence[Video]) -> list[list[Any]]:
        return [[self._contents[video.path], video.intervals] for video in videos]

    def _fold(self, known: Sequence[Video], fold: Sequence[int], seed: int, name: str) -> Done:
        held = [known[i] for i in fold]
        others = [video for i, video in enumerate(known) if i not in set(fold)]

        def work(draft: Path) -> None:
            train, validation = self._both.fold_parts(others, seed)
            generator = self._both.generator(train, seed, f"{name}, stage 1")
            soft = self._both.soft_labels(train, generator, seed)
            network = self._both.encoder(train, soft, validation, seed, draft / SCRATCH, f"{name}, stage 2")
            if not self.stages.first:
                return
            _write_lines(draft / "scores.jsonl", [self._scores(video, generator, network).row() for video in held])
            (draft / SCRATCH / CHECKPOINT_FILE).unlink(missing_ok=True)

        inputs = {
            "train": self._identity(others),
            "fold": self._named(held),
            "footage": self.footage.settings,
            "recipe": self.config.recipe.model_dump(mode="json"),
            "labels": self.config.pseudo_labels.model_dump(mode="json"),
            "encoder": self.config.encoder.model_dump(mode="json"),
            "validation": self.config.videos.validation,
            "seed": seed,
        }
        return self._run(name, inputs, work, together=True)

    def _scores(self, video: Video, generator: Generator, network: Network) -> VideoScores:
        seen = self.footage.live(video)
        return VideoScores(
            self._names[video.path],
            video,
            clip_logits(generator, seen.features),
            encoder_logits(network, seen.inputs),
            ClipTimes(seen.starts, seen.ends, seen.segments),
        )

    def _probe(self) -> dict[str, float]:
        """The baseline on the same folds."""
        known = self._plan.known
        means = [Bag(_of_whole_picture(self.footage.training(video).features), video.label) for video in known]
        values = probe_scores(means, self._both.folds(known))
        return {self._names[video.path]: float(value) for video, value in zip(known, values, strict=True)}

    def _about(self) -> dict[str, Any]:
        """What the card says of the training."""
        plan = self._plan
        everything = (*plan.known, *plan.test)
        own = {video.path: self._names[video.path] for video in everything if video.group == str(video.path)}
        return {
            "data": self.config.data,
            "manifest_sha256": manifest_digest(everything),
            "videos": len(plan.train),
            "abnormal_videos": sum(video.label for video in plan.train),
            "validation_videos": len(plan.validation),
            "groups": sorted({own.get(video.path, video.group) for video in plan.train}),
            "validation_groups": sorted({own.get(video.path, video.group) for video in plan.validation}),
            "skipped": list(self._skipped),
            "damaged": list(self._damaged),
            "clip_stride": self.config.training_stride,
            "mirrored": self.config.mirrored,
            "recipe": {
                "generator": self.config.recipe.model_dump(mode="json"),
                "pseudo_labels": self.config.pseudo_labels.model_dump(mode="json"),
                "encoder": self.config.encoder.model_dump(mode="json"),
            },
            "seed": self.seed,
            "torch": torch.__version__.split("+")[0],
            "machine": platform.machine(),
        }

    def _fold_scores(self) -> list[list[VideoScores]]:
        """For each seed the scores of all videos by networks that had not seen them."""
        by_name = {self._names[video.path]: video for video in self._plan.known}
        seeds: dict[str, list[VideoScores]] = {}
        for name, done in self._done.items():
            if name.startswith("folds/"):
                rows = _read_lines(done.folder / "scores.jsonl")
                seeds.setdefault(name.split("/")[1], []).extend(VideoScores.of(row, by_name) for row in rows)
        return list(seeds.values())


def _of_whole_picture(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(n, D) or, of a grid's cells, (n, cells, D) → (n, D)."""
    return features if features.ndim == 2 else features.mean(axis=1)


def _content(video: Video) -> str:
    """A hash of its content; empty where it cannot be read, which the first stage is to find out and to tell."""
    try:
        return open_recording(video.path, fps=video.fps).content_hash
    except (SourceError, OSError):
        return ""


# -- files -------------------------------------------------------------------------------------------------------------


def _write_json(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_lines(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _read_lines(file: Path) -> list[dict[str, Any]]:
    # Not splitlines(): a name may hold what Unicode takes for the end of a line.
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


def _load_generator(folder: Path) -> Generator:
    about = json.loads((folder / "generator.json").read_text(encoding="utf-8"))
    generator = Generator(Architecture.model_validate(about["architecture"]))
    tensors = load_tensors(folder / GENERATOR_FILE, generator.state_dict(), network="generator", sha256=about["sha256"])
    generator.load_state_dict(tensors)
    return generator.eval()


def _save_network(network: Network, folder: Path) -> None:
    heads, fine_tuned = (network, False) if isinstance(network, SelfGuidedHeads) else (network.heads, True)
    architecture = heads.architecture(fine_tuned=fine_tuned).model_dump(mode="json")
    _write_json(folder / "encoder.json", {"sha256": save_encoder(network, folder), "architecture": architecture})


def _load_network(folder: Path) -> Network:
    about = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    architecture = SelfGuidedArchitecture.model_validate(about["architecture"])
    heads = SelfGuidedHeads.from_card(architecture)
    network: Network = AttentionEncoder(I3D(classes=0), heads) if architecture.fine_tuned else heads
    prefix = "" if architecture.fine_tuned else "heads."
    state = network.state_dict(prefix=prefix)
    tensors = load_tensors(folder / ENCODER_FILE, state, network="encoder", sha256=about["sha256"])
    network.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in tensors.items()})
    return network.eval()
