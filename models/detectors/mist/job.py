"""The training job of MIST: from videos with one label each to a product that can be served.

    features ─► generator ─► pseudo-labels ─► encoder ─► product ─► repository
        └─────► folds ──────────────────────────────────────┘

A recipe without an encoder trains the generator alone, and has no stages ``pseudo-labels`` and ``encoder``.

Each stage (:mod:`models.jobs.stages`) is a folder of the run, made again when something that it depends on has changed.
Videos of split test reach only ``features`` and ``product``. All choices are made on videos that are neither trained on
nor tested.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.card import CARD_FILE, read_card
from models.code import code_digest
from models.detectors.mist.card import MistCard
from models.detectors.mist.divisions import Divisions
from models.detectors.mist.family import complaint_about_scene
from models.detectors.mist.footage import Footage, names_of
from models.detectors.mist.generator import WEIGHTS_FILE as GENERATOR_FILE
from models.detectors.mist.stages import encoder, features, folds, generator, labels, product
from models.detectors.mist.training_about import about_training
from models.jobs.errors import StageError, TrainingError
from models.jobs.repository import Export, Repository
from models.jobs.stages import SCRATCH, Done, Place, Stages
from models.jobs.thresholds import usable_kernels
from models.jobs.video_plan import planned
from models.serving.export import MEASURES, export_entries, export_tools
from pipeline import files
from pipeline.manifests.manifest import Video, open_video
from pipeline.manifests.ordinary import ordinary_footage
from pipeline.sources.base import SourceError

if TYPE_CHECKING:
    from models.detectors.mist.config import MistConfig

Progress = Callable[[str, int, int], None]  #: (part of the work, done, total)

STAGES = ("features", "generator", "pseudo-labels", "encoder", "folds", "product", "repository")
_OF_THE_ENCODER = ("pseudo-labels", "encoder")

#: Code that fills the caches of features, maps and clips. It decides the stage ``features`` alone: what the caches hold
#: is named by settings, engine and a format number that changes with the content.
FILLS_CACHES = (
    "models.data.backbone_engines",
    "models.data.contrast",
    "models.data.extraction",
    "models.engines",
)
#: Code that decodes videos.
DECODES = ("pipeline.sources",)

#: For each stage the modules in which its work stands, and code that they import without depending on it.
CODE: dict[str, tuple[Sequence[str], Collection[str]]] = {
    "features": (("models.detectors.mist.stages.features",), ()),
    "generator": (("models.detectors.mist.stages.generator",), (*FILLS_CACHES, *DECODES)),
    "pseudo-labels": (("models.detectors.mist.stages.labels",), (*FILLS_CACHES, *DECODES)),
    "encoder": (("models.detectors.mist.stages.encoder",), (*FILLS_CACHES, *DECODES)),
    "folds": (("models.detectors.mist.stages.folds",), (*FILLS_CACHES, *DECODES)),
    "product": (("models.detectors.mist.stages.product",), FILLS_CACHES),  # frames of recordings are counted
    "repository": (export_entries("mist"), MEASURES),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a job.

    Attributes:
        stages: those that it went through, in order.
        card: of the product; None where the job ended before it.
        skipped: videos that were left out, with the reason, a line each.
        damaged: videos that could not be decoded in full and are used as far as they go, a line each.
    """

    stages: tuple[Done, ...]
    card: MistCard | None
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
    report: Callable[[str], None] = lambda _line: None,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Run the job, as far as it is not up to date.

    Args:
        out: the run's folder; made when missing.
        only: run this stage alone; those before it must be up to date, those after it are not looked at.
        skip_bad: leave out videos that cannot be read, and list them.
        export: writes a model repository from a product's folder: (product, repository). None: no repository.
        footage: the clips of the videos; from the user's cache when None.

    Raises:
        TrainingError: the videos cannot be divided as the recipe asks, a part of them lacks a label, a loss or a score
            is not finite, or a repository is wanted of a model that cannot be served.
        FeaturesError, pipeline.manifests.manifest.ManifestError: some videos cannot be read, a line each; or a place of
            ``extra_normals`` is missing or holds no video.
        StageError: a stage before ``only`` is not up to date, the recipe lacks the stage ``only``, or another job is
            running in ``out``.
        models.backbones.weights.WeightsError: the backbone's weights are missing.
        OSError: ``out`` cannot be written.
    """
    names = [name for name in STAGES if config.encoder is not None or name not in _OF_THE_ENCODER]
    if export is None:
        names.remove("repository")
    elif (complaint := complaint_about_scene(config.contrast)) is not None:  # before the training, not after it
        raise TrainingError(f"recipe {config.name}: {complaint}")
    if only is not None and only not in names:
        raise StageError(f"--stage {only}: the recipe {config.name} has no such stage; expected {', '.join(names)}")
    left_out: list[str] = []
    extra: list[Video] = []
    if config.extra_normals is not None:
        extra = ordinary_footage(config.extra_normals.footage, skipped=left_out if skip_bad else None)
    stages = Stages(out, only=only, report=report)
    with stages.alone():
        job = _Job(videos, extra, config, stages, seed, skip_bad, footage or Footage(config), progress)
        steps: dict[str, Callable[[], list[Done]]] = {
            "features": job.features,
            "generator": job.generator,
            "pseudo-labels": job.pseudo_labels,
            "encoder": job.encoder,
            "folds": job.folds,
            "product": job.product,
            "repository": lambda: job.repository(export) if export is not None else [],
        }
        done: list[Done] = []
        for name in names:
            done += steps[name]()
            if name == only:
                break
    return Outcome(tuple(done), job.card, (*left_out, *job.skipped), job.damaged)


def train_generator_into(
    folder: Path, videos: Sequence[Video], config: MistConfig, *, seed: int = 0, progress: Progress = lambda *_: None
) -> Outcome:
    """Run the job of a recipe without an encoder, and put weights and card alone into a folder.

    The run's other files are removed. The features stay in the cache.

    Args:
        videos, config, seed, progress: see :func:`train_mist`, which raises the same errors.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = folder / ".run"
    files.remove_stale_drafts(folder, run.name)
    draft = files.draft_path(run)
    try:
        outcome = train_mist(videos, config, draft, seed=seed, progress=progress)
        for name in (GENERATOR_FILE, CARD_FILE):
            files.write_bytes(folder / name, (draft / "product" / name).read_bytes())
    finally:
        files.remove(draft)
    return outcome


class _Job:
    """One run; the methods are its stages, in order."""

    def __init__(
        self,
        videos: Sequence[Video],
        extra: Sequence[Video],
        config: MistConfig,
        stages: Stages,
        seed: int,
        skip_bad: bool,
        footage: Footage,
        progress: Progress,
    ) -> None:
        self.config, self.stages, self.seed, self.footage = config, stages, seed, footage
        self.progress = progress
        self.card: MistCard | None = None
        self.skipped: tuple[str, ...] = ()
        self.damaged: tuple[str, ...] = ()
        self._skipped: list[str] = []  # names
        self._damaged: list[str] = []  # names
        self._skip_bad = skip_bad
        self._extra = tuple(extra)
        self._names = names_of(videos) | _names_of_extra(extra)
        self._contents = {video.path: _content(video) for video in (*videos, *extra)}
        self._check_extra(videos)
        divided = config.folds is not None or (config.encoder is not None and config.pseudo_labels.folds is not None)
        self._plan = planned(videos, config.videos, seed, contents=self._contents, folds=divided)
        self._divisions = Divisions(config, seed)
        self._divisions.check(self._plan.train, self._plan.known)
        self._done: dict[str, Done] = {}
        self._codes: dict[str, str] = {}

    def _check_extra(self, videos: Sequence[Video]) -> None:
        """Check that no ordinary footage is a video of the data set, which may be of the test, or is there twice."""
        known = {
            content: (video, "a video of the data set") for video in videos if (content := self._contents[video.path])
        }
        for video in self._extra:
            if not (content := self._contents[video.path]):
                continue
            if (found := known.get(content)) is not None:
                same, what = found
                raise TrainingError(
                    f"extra_normals: {video.path} has the content of {same.path}, {what}; leave one of them out"
                )
            known[content] = video, "ordinary footage too"

    # -- the stages ----------------------------------------------------------------------------------------------------

    def features(self) -> list[Done]:
        """Fill the caches, and leave out the videos that cannot be used."""
        everything = (*self._plan.known, *self._plan.test)
        unseen = everything if self.config.folds else (*self._plan.validation, *self._plan.test)

        def work(draft: Path) -> None:
            features.compute(
                draft,
                self.footage,
                everything,
                self._names,
                known={video.path for video in self._plan.known},
                judged={video.path for video in unseen},
                extra=self._extra,
                skip_bad=self._skip_bad,
                progress=self.progress,
            )

        inputs = {
            "videos": [self._named(part) for part in (self._plan.train, self._plan.validation, self._plan.test)],
            "extra": self._named(self._extra),
            "truth": self._truth(everything),
            "settings": self.footage.settings,
            "folds": self.config.folds is not None,
            "skip_bad": self._skip_bad,
        }
        done = self._run("features", inputs, work)
        self._use(features.read(done.folder))
        return [done]

    def _use(self, found: dict[str, Any]) -> None:
        """Restrict the plan to the videos that can be used, and check that it can still be carried out."""
        short = [name for name, clips in found["clips"].items() if not clips]
        self._skipped = [*found["skipped"], *short]
        self.skipped = (
            *found["skipped"].values(),
            *(f"{name}: shorter than one clip, or with pauses that no clip may span" for name in short),
        )
        self._damaged = [name for name in found["damaged"] if found["clips"][name]]
        self.damaged = tuple(f"{name}: {found['damaged'][name]}" for name in self._damaged)
        usable = {path for path, name in self._names.items() if found["clips"].get(name)}
        self._extra = tuple(video for video in self._extra if video.path in usable)
        self._plan = self._plan.restricted(usable)
        self._divisions.check(self._plan.train, self._plan.known)
        if self.config.alerting.chosen is None:  # before the training, not after it
            unseen = self._plan.known if self.config.folds else self._plan.validation
            usable_kernels(self.config.alerting.kernels, [found["live"][self._names[video.path]] for video in unseen])

    def generator(self) -> list[Done]:
        """Train stage 1 on all training videos."""
        recipe = self.config.recipe
        total = recipe.epochs * recipe.members

        def work(draft: Path) -> None:
            generator.compute(
                draft,
                self.footage,
                self._plan.train,
                self._extra,
                recipe,
                self.seed,
                lambda done: self.progress("generator", done, total),
            )

        inputs = {
            "videos": self._identity(self._plan.train),
            **self._of_extra(),
            "footage": self.footage.settings,
            "recipe": recipe.model_dump(mode="json"),
            "seed": self.seed,
        }
        return [self._run("generator", inputs, work)]

    def pseudo_labels(self) -> list[Done]:
        """Make soft labels of the training videos' clips."""
        divided = self._divisions.label_folds(self._plan.train)

        def work(draft: Path) -> None:
            kept = self._done["generator"].folder
            labels.compute(
                draft, self.footage, self._plan.train, self._extra, self._names, kept, self.config, divided, self.seed
            )

        inputs = {
            "videos": self._named(self._plan.train),
            "generator": self._done["generator"].digest,
            "choice": self.config.pseudo_labels.model_dump(mode="json"),
            "folds": divided,
            **(self._of_extra() if divided is not None else {}),
            "footage": self.footage.settings,
            "recipe": self.config.recipe.model_dump(mode="json") if divided is not None else None,
            "seed": self.seed,
        }
        return [self._run("pseudo-labels", inputs, work)]

    def encoder(self) -> list[Done]:
        """Train stage 2 on the soft labels."""
        recipe = self.config.encoder
        assert recipe is not None

        def work(draft: Path) -> None:
            soft = labels.read(self._done["pseudo-labels"].folder)
            network = encoder.train(
                self.footage,
                self._plan.train,
                [soft[self._names[video.path]] for video in self._plan.train],
                self._plan.validation,
                recipe,
                self.config.backbone,
                self.seed,
                draft / SCRATCH,
                lambda done: self.progress("encoder", done, recipe.epochs),
            )
            if self.stages.first:
                encoder.keep(network, draft, draft / SCRATCH)

        inputs = {
            "videos": [self._named(self._plan.train), self._identity(self._plan.validation)],
            "labels": self._done["pseudo-labels"].digest,
            "footage": self.footage.settings,
            "recipe": recipe.model_dump(mode="json"),
            "seed": self.seed,
        }
        return [self._run("encoder", inputs, work, together=True)]

    def folds(self) -> list[Done]:
        """Score the videos of each fold, for each seed, by networks that were trained on the other folds."""
        divided = self._divisions.folds(self._plan.known)
        done = []
        for seed in range(self.seed, self.seed + self.config.seeds):
            for ordinal, fold in enumerate(divided):
                done.append(self._fold(fold, seed, f"folds/seed-{seed}/fold-{ordinal}"))
                self.progress("folds", len(done), self.config.seeds * len(divided))
        return done

    def _fold(self, fold: Sequence[int], seed: int, name: str) -> Done:
        parts = self._divisions.fold_parts(self._plan.known, fold, seed)

        def work(draft: Path) -> None:
            folds.compute(
                draft,
                self.footage,
                parts,
                self._extra,
                self._names,
                self.config,
                seed,
                draft / SCRATCH,
                lambda part, done, total: self.progress(f"{name}, {part}", done, total),
                first=self.stages.first,
            )

        encoder_recipe = self.config.encoder
        inputs = {
            "train": [self._identity(parts.train), self._identity(parts.validation)],
            **self._of_extra(),
            "fold": self._named(parts.held),
            "label_folds": parts.label_folds,
            "footage": self.footage.settings,
            "recipe": self.config.recipe.model_dump(mode="json"),
            "labels": self.config.pseudo_labels.model_dump(mode="json"),
            "encoder": encoder_recipe.model_dump(mode="json") if encoder_recipe is not None else None,
            "seed": seed,
        }
        return self._run(name, inputs, work, together=True)

    def product(self) -> list[Done]:
        """Write the model that is served, and its card."""
        parts = (self._plan.train, self._plan.validation, self._plan.test)
        networks = {name: self._done[name] for name in ("generator", *_OF_THE_ENCODER) if name in self._done}
        seeds = self._folds_by_seed()

        def work(draft: Path) -> None:
            product.compute(
                draft,
                self.footage,
                self._plan,
                self._names,
                {name: done.folder for name, done in networks.items()},
                [[done.folder for done in folds] for folds in seeds],
                self._divisions.folds(self._plan.known),
                self.config,
                about_training(
                    self.config,
                    self._plan,
                    self._names,
                    extra=self._extra,
                    skipped=self._skipped,
                    damaged=self._damaged,
                    seed=self.seed,
                ),
            )

        inputs = {
            "networks": {name: done.digest for name, done in networks.items()},
            "folds": [[done.digest for done in folds] for folds in seeds],
            "divided": self._divisions.folds(self._plan.known),
            "videos": [self._named(part) for part in parts],
            "extra": self._named(self._extra),
            "truth": self._truth((*self._plan.known, *self._plan.test)),
            "skipped": self._skipped,
            "damaged": self._damaged,
            "footage": self.footage.settings,
            "config": self.config.model_dump(mode="json"),
            "seed": self.seed,
        }
        done = self._run("product", inputs, work)
        self.card = read_card(done.folder, MistCard)
        return [done]

    def repository(self, export: Export) -> list[Done]:
        """Add the product to a model repository, as a version."""
        made = self._done["product"]
        place = Repository(self.stages.folder / "repository", made.folder)
        inputs = {"product": made.digest, "tools": export_tools()}
        return [self._run("repository", inputs, lambda draft: place.fill(draft, export), place=place)]

    # -- their inputs --------------------------------------------------------------------------------------------------

    def _run(
        self,
        name: str,
        inputs: dict[str, Any],
        work: Callable[[Path], None],
        *,
        together: bool = False,
        place: Place | None = None,
    ) -> Done:
        code = self._code(name.partition("/")[0])
        done = self.stages.run(name, {"code": code, **inputs}, work, together=together, place=place)
        self._done[name] = done
        return done

    def _code(self, stage: str) -> str:
        if stage not in self._codes:
            entries, without = CODE[stage]
            self._codes[stage] = code_digest(entries, without=without)
        return self._codes[stage]

    def _identity(self, videos: Sequence[Video]) -> list[list[Any]]:
        """Return what a training knows of its videos; their places are not part of it."""
        return [[self._contents[v.path], v.label, self._names[v.path] if v.is_alone else v.group] for v in videos]

    def _named(self, videos: Sequence[Video]) -> list[list[Any]]:
        """Return the same with the videos' names, for stages whose results are looked up by name."""
        own = zip(videos, self._identity(videos), strict=True)
        return [[self._names[video.path], *identity] for video, identity in own]

    def _of_extra(self) -> dict[str, Any]:
        """Return what the trainings know of ordinary footage, for their inputs; empty without it."""
        choice = self.config.extra_normals
        return {} if choice is None else {"extra": self._identity(self._extra), "extra_weight": choice.weight}

    def _truth(self, videos: Sequence[Video]) -> list[list[Any]]:
        return [[self._contents[video.path], video.intervals] for video in videos]

    def _folds_by_seed(self) -> list[list[Done]]:
        seeds: dict[str, list[Done]] = {}
        for name, done in self._done.items():
            if name.startswith("folds/"):
                seeds.setdefault(name.split("/")[1], []).append(done)
        return list(seeds.values())


def _names_of_extra(videos: Sequence[Video]) -> dict[Path, str]:
    """Return a name for each video of ordinary footage, unlike the paths by which the data set's are named."""
    return {path: f"extra_normals: {name}" for path, name in names_of(videos).items()}


def _content(video: Video) -> str:
    """Return a hash of its content; empty for an unreadable video, which the first stage reports."""
    try:
        return open_video(video).content_hash
    except (SourceError, OSError):
        return ""
