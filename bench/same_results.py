"""Compare the results of this tree with those of an earlier revision: a change of the code that changes no result.

    python bench/same_results.py d36fc77 [--data ../shared/data] [--only films outbox]
    python bench/same_results.py d36fc77 --train runs/same-results    # also the whole training; an hour on two cores

writes bench/results/same_results.json and .md, and ends with status 1 if a result differs. The revision is checked out
into a temporary git worktree. Both trees run with the packages of this Python, through the command line alone:

* films: three rendered films of the courtyard are the same bytes, and so are the committed models;
* cctv, courtyard, site-file: replays of the films of cctv/, of the courtyard, and of two films under a site file of the
  revision give the same scores and alerts, apart from the field ``detector``; other events are passed over;
* training: the courtyard's generator, trained by its recipe on a few videos in both trees, is the same bytes. With
  --train it is also trained here on all 900 videos, and must be the committed one;
* outbox: events that the revision accepted, as a killed worker leaves them, reach the topic as the same messages.

Scores are compared exactly. Where they differ, the revision is replayed once more, and the largest difference between
its own two replays is the tolerance: 0 on a machine where the engine gives the same bits every time.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import platformdirs
import pyarrow as pa
import yaml
from differences import (
    Message,
    document_differences,
    masked,
    message_differences,
    table_differences,
    tolerance_between,
)
from kafka import KafkaConsumer, TopicPartition
from pyarrow import parquet
from recorded import record

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
DATA = Path(os.environ.get("MISTWATCH_DATA") or ROOT.parent / "shared" / "data")
PACKAGES = ("operators", "pipeline", "models", "deploy")
MODELS = ("courtyard", "fights")
RECIPE = "configs/train/courtyard-generator.yaml"
SITE = "configs/site.example.yaml"
BACKBONE = "i3d-kinetics400"

#: Seeds of no training (1000-1999), demo (7001 and on) or report (9101-9120).
FILMS = {"--videos": 3, "--seconds": 40, "--seed": 9201, "--abnormal": 1}
#: As the recipe says: the courtyard's training videos.
TRAINING_FILMS = {"--videos": 900, "--seconds": 10, "--seed": 1000}
FEW_VIDEOS = 24  #: enough for five folds with both labels in each

#: A site file of version 0.1.0. Its thresholds are so low that there are alerts of every kind to compare.
ALERTING_SITE: dict[str, Any] = {
    "site": "same-results",
    "alerts": {"open_threshold": 0.12, "close_threshold": 0.11, "update_every_seconds": 2, "cooldown_seconds": 1},
    "cameras": {
        "vtest": {"source": "vtest", "alerts": {"open_threshold": 0.55, "close_threshold": 0.5, "kernel": 1}},
        "other": {"source": "other"},
    },
}
SITE_FILMS = ("car-detection.mp4", "vtest.avi")  #: of cctv/, the second one named like a camera of that site

#: Fields that a result of this tree may have beside those of the revision.
NEW_COLUMNS = frozenset({"detector"})
NEW_ALERT_FIELDS = frozenset({"data.detector"})
#: Parts of a generator's model card that are not compared: the recipe's prose was rewritten in 0.2.0, and figures and
#: training have the form that they have in the card of both stages.
REWRITTEN = frozenset({"description", "sees", "does_not_see", "figures", "training"})
#: Fields of run.json that differ between any two runs, or between versions.
UNCOMPARED = frozenset({"mistwatch", "created_at"})

#: How long one tree's relay may take to empty an outbox of a few events, seconds.
DELIVERY_SECONDS = 60.0
#: After the last expected message, wait for unexpected ones, seconds.
SILENCE_SECONDS = 3.0
POLL_SECONDS = 0.2
#: SIGTERM ends a worker within 10 seconds, as `mistwatch run --help` promises.
END_SECONDS = 20.0

#: Run by the revision's code: accept every event of a run, deliver one, refuse one, die. Every other event looks like
#: a live camera's, which the relay stamps when it sends it. Prints the documents that wait.
FILL_OUTBOX = """
import os, sys
from pathlib import Path
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]))
events = [AlertEvent.model_validate_json(line) for line in Path(sys.argv[2]).read_text().splitlines()]
for number, event in enumerate(events):
    if number % 2:
        event = event.model_copy(update={"data": event.data.model_copy(update={"replay": False})})
    outbox.accept(event)
outbox.delivered([events[0].id])
outbox.refuse(events[2].id, "too large")
print("\\n".join(event.to_json().decode() for event in outbox.pending()), flush=True)
os._exit(0)
"""
#: Run by the revision's code: a broker until standard input is closed. Prints its address.
BROKER = """
import sys
from pathlib import Path
from deploy.broker.server import BrokerServer
with BrokerServer(Path(sys.argv[1])) as server:
    print(server.bootstrap, flush=True)
    sys.stdin.read()
"""
IMPORTED_FROM = "import importlib, sys; print(*(importlib.import_module(name).__file__ for name in sys.argv[1:]))"


class CommandFailed(Exception):
    """A command of one of the trees failed, or did not do what it should. One line."""


@dataclass(frozen=True)
class Check:
    """One line of the table. ``same`` None: not asked for."""

    check: str
    base: str
    present: str
    same: bool | None
    note: str = ""


@dataclass(frozen=True)
class Case:
    """Recordings of a replay and its options.

    Attributes:
        films: files of ``cctv/`` or of the courtyard.
        site: content of a site file; None: the model's own settings.
        must_alert: without an alert, nothing would be compared.
    """

    name: str
    model: str
    films: tuple[Path, ...]
    site: dict[str, Any] | None = None
    must_alert: bool = False


# -- the two trees -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tree:
    """The code of one revision in a folder, run with the packages of this Python."""

    name: str
    folder: Path

    def environment(self, cache: Path | None = None) -> dict[str, str]:
        """Return the environment in which Python imports this tree's code, and no setting of a site is overridden."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MISTWATCH_")}
        cache = cache or user_cache()
        return kept | {"PYTHONPATH": str(self.folder), "MISTWATCH_CACHE": str(cache)}

    def python(self, *arguments: object, cache: Path | None = None) -> str:
        """Run Python with this tree's code; return its standard output.

        Args:
            cache: mistwatch's cache folder; the user's if None.

        Raises:
            CommandFailed: its status is not 0.
        """
        command = [sys.executable, *map(str, arguments)]
        ended = subprocess.run(
            command, cwd=self.folder, env=self.environment(cache), capture_output=True, text=True, errors="replace"
        )
        if ended.returncode:
            said = (ended.stderr.strip() or ended.stdout.strip() or "no output").splitlines()[-1]
            shown = " ".join(command[1:5])
            raise CommandFailed(f"{self.name}: python {shown} … ended with status {ended.returncode}: {said}")
        return ended.stdout

    def mistwatch(self, *arguments: object, cache: Path | None = None) -> str:
        """Run ``mistwatch`` of this tree; as :meth:`python`."""
        return self.python("-m", "pipeline.cli", *arguments, cache=cache)

    def check_imports(self) -> None:
        """Raise CommandFailed if Python imports another tree's code."""
        for file in self.python("-P", "-c", IMPORTED_FROM, *PACKAGES).split():
            if not Path(file).is_relative_to(self.folder):
                raise CommandFailed(f"{self.name}: imports {file}; expected the code in {self.folder}")

    def training_command(self, manifest: Path) -> list[object]:
        """Return the command that trains a generator on a manifest's videos. Raises CommandFailed if there is none."""
        forms = ((["train", "generator"], [manifest]), (["train", "mist"], ["--data", manifest]))
        for words, videos in forms:
            with contextlib.suppress(CommandFailed):
                self.mistwatch(*words, "--help")
                return [*words, *videos]
        raise CommandFailed(f"{self.name}: there is neither `train generator` nor `train mist`")

    def weights(self, model: str) -> bytes:
        """Return the committed weights of a model, wherever they lie in ``models/``."""
        found = sorted((self.folder / "models").rglob(f"{model}/generator.safetensors"))
        if len(found) != 1:
            raise CommandFailed(f"{self.name}: {len(found)} files {model}/generator.safetensors under models/, not 1")
        return found[0].read_bytes()

    def code(self) -> str:
        """Return a digest of the product's code as it lies in the folder."""
        digest = hashlib.sha256()
        for package in PACKAGES:
            for file in sorted((self.folder / package).rglob("*.py")):
                digest.update(str(file.relative_to(self.folder)).encode() + b"\0" + file.read_bytes())
        return digest.hexdigest()


def user_cache() -> Path:
    """Return mistwatch's cache folder, with the weights of the backbone and the exported models."""
    chosen = os.environ.get("MISTWATCH_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("mistwatch", appauthor=False))


def empty_cache(folder: Path) -> Path:
    """Make a cache folder that has nothing but the backbone's weights, which are linked."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "weights"
    if not weights.is_symlink():
        weights.symlink_to(user_cache().absolute() / "weights")
    return folder


@contextlib.contextmanager
def checked_out(revision: str, folder: Path) -> Iterator[Tree]:
    """Check the revision out into ``folder``; it is gone afterwards."""
    git("worktree", "add", "--detach", str(folder), revision)
    try:
        yield Tree("base", folder)
    finally:
        git("worktree", "remove", "--force", str(folder))


def git(*arguments: str) -> str:
    ended = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {ended.stderr.strip()}")
    return ended.stdout.strip()


def synth(tree: Tree, out: Path, films: dict[str, int]) -> list[Path]:
    """Render films of the courtyard, those that are not there yet; return their files."""
    options = [word for option in films.items() for word in option]
    tree.mistwatch("synth", out, *options)
    return sorted(out.rglob("*.mp4"))


# -- the checks --------------------------------------------------------------------------------------------------------


class Comparison:
    """The checks of one call, and what they share: both trees, the rendered films, the replays.

    Args:
        scratch: folder for everything that is written.
        data: folder of ``cctv/``.
    """

    def __init__(self, base: Tree, present: Tree, scratch: Path, data: Path, train: Path | None) -> None:
        self.base = base
        self.present = present
        self._scratch = scratch
        self._data = data
        self._train = train
        self._rendered: list[Path] | None = None
        scratch.mkdir()

    @property
    def rendered(self) -> list[Path]:
        """The films of the courtyard that both trees replay, rendered by the revision."""
        if self._rendered is None:
            self._rendered = synth(self.base, self._scratch / "films" / "base", FILMS)
        return self._rendered

    def films(self) -> Iterator[Check]:
        """Compare the files that both trees render, and the committed weights."""
        before = _digests(self.rendered[0].parents[1])
        synth(self.present, self._scratch / "films" / "present", FILMS)
        after = _digests(self._scratch / "films" / "present")
        note = str(document_differences(before, after))
        yield Check("rendered films, truth and manifest", _short(before), _short(after), before == after, note)
        for model in MODELS:
            old, new = self.base.weights(model), self.present.weights(model)
            yield Check(f"committed weights of {model}", _digest(old), _digest(new), old == new)

    def cctv(self) -> Iterator[Check]:
        """Compare replays of all films of ``cctv/``."""
        films = sorted(file for file in (self._data / "cctv").iterdir() if file.suffix in (".avi", ".mp4"))
        yield from self._replayed(Case("cctv", "fights", tuple(films)))

    def courtyard(self) -> Iterator[Check]:
        """Compare replays of the rendered films."""
        yield from self._replayed(Case("courtyard", "courtyard", tuple(self.rendered), must_alert=True))

    def site_file(self) -> Iterator[Check]:
        """Compare replays under a site file of the revision; both trees must accept the revision's example of one."""
        yield from self._replayed(self._under_a_site_file)
        example = self.base.folder / SITE
        settings = yaml.safe_load(example.read_text(encoding="utf-8"))
        for tree in (self.base, self.present):
            tree.mistwatch("config", "check", example)
        said = f"{len(settings)} keys, {len(settings['cameras'])} cameras: accepted"
        yield Check(f"site file: {SITE} is accepted", said, said, True)

    @property
    def _under_a_site_file(self) -> Case:
        films = tuple(self._data / "cctv" / name for name in SITE_FILMS)
        return Case("site file", "fights", films, site=ALERTING_SITE, must_alert=True)

    def _replay(self, case: Case, tree: Tree, again: str = "") -> RunFolder:
        """Replay the case's films by the tree's code, unless that was done before."""
        out = self._scratch / "runs" / f"{case.name}-{tree.name}{again}".replace(" ", "-")
        if not out.exists():
            of_site: tuple[object, ...] = ()
            if case.site is not None:
                file = self._scratch / f"{case.name}.yaml"
                file.write_text(yaml.safe_dump(case.site), encoding="utf-8")
                of_site = ("--config", file)
            tree.mistwatch("replay", *case.films, "--model", case.model, *of_site, "--out", out)
        return RunFolder(out)

    def _replayed(self, case: Case) -> Iterator[Check]:
        """Replay the case by both trees and compare scores, alerts and the rest of the run folder."""
        old, new = self._replay(case, self.base), self._replay(case, self.present)
        found, tolerance, note = table_differences(old.scores, new.scores), 0.0, []
        if found.changed:
            tolerance = tolerance_between(old.scores, self._replay(case, self.base, "-again").scores)
            found = table_differences(old.scores, new.scores, tolerance=tolerance)
            note = [f"tolerance {tolerance:g}, between two replays of the revision"]
        note += [str(found)] * bool(str(found))
        same = found.within(NEW_COLUMNS) and old.scores.num_rows > 0
        yield Check(f"{case.name}: scores", old.clips(), new.clips(), same, "; ".join(note))
        found = document_differences(old.alerts, new.alerts, tolerance=tolerance)
        same = found.within(NEW_ALERT_FIELDS) and not (case.must_alert and not old.alerts)
        yield Check(f"{case.name}: alerts", old.events(), new.events(), same, str(found))
        found = document_differences(old.settings, new.settings) + document_differences(old.videos, new.videos)
        runs = [str(run.settings.get("run")) for run in (old, new)]
        yield Check(f"{case.name}: the run and its recordings", *runs, not found.changed, str(found))

    def training(self) -> Iterator[Check]:
        """Train the courtyard's generator by its recipe: on a few videos in both trees, on all of them in this one."""
        self.base.mistwatch("weights", "fetch", BACKBONE)  # into the user's cache, if they are not there
        videos = self._scratch / "training"
        synth(self.base, videos, TRAINING_FILMS | {"--videos": FEW_VIDEOS})
        products = [
            train(tree, videos, self._scratch / f"trained-{tree.name}", self._scratch / f"cache-{tree.name}")
            for tree in (self.base, self.present)
        ]
        old, new = ((product / "generator.safetensors").read_bytes() for product in products)
        yield Check(f"generator of {FEW_VIDEOS} videos", _digest(old), _digest(new), old == new)
        cards = [json.loads((product / "model-card.json").read_text(encoding="utf-8")) for product in products]
        figures = [f"AUC {_video_auc(card)}" for card in cards]
        found = document_differences(*({k: v for k, v in card.items() if k not in REWRITTEN} for card in cards))
        yield Check("its model card, but for prose, figures and training", *figures, not found.changed, str(found))
        yield self._whole_training()

    def _whole_training(self) -> Check:
        name = f"generator of {TRAINING_FILMS['--videos']} videos, against the committed one"
        committed = _digest(self.base.weights("courtyard"))
        if self._train is None:
            return Check(name, committed, "–", None, "not asked for: --train FOLDER, about an hour on two cores")
        self._train.mkdir(parents=True, exist_ok=True)
        mark = self._train / "code.sha256"
        begun = mark.read_text(encoding="utf-8") if mark.exists() else self.present.code()
        mark.write_text(begun, encoding="utf-8")
        older = begun != self.present.code()
        videos = self._train / "videos"
        synth(self.present, videos, TRAINING_FILMS)
        product = train(self.present, videos, self._train / "trained", self._train / "cache")
        weights = (product / "generator.safetensors").read_bytes()
        note = (
            f"films and features in {self._train.name} were begun with other code than the present one" if older else ""
        )
        return Check(name, committed, _digest(weights), weights == self.base.weights("courtyard"), note)

    def outbox(self) -> Iterator[Check]:
        """Have both trees publish an outbox that the revision wrote and did not close."""
        alerts = self._scratch / "accepted.jsonl"  # the revision may know no other events
        lines = self._replay(self._under_a_site_file, self.base).alert_lines
        alerts.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        state = self._scratch / "outbox"
        said = self.base.python("-c", FILL_OUTBOX, state / "outbox.sqlite", alerts)
        waiting = [line.encode() for line in said.splitlines()]
        with self._broker() as bootstrap:
            old, new = (self._published(tree, bootstrap, state, len(waiting)) for tree in (self.base, self.present))
        if sorted(message.value for message in old) != sorted(waiting):
            raise CommandFailed("base: did not publish its own outbox as it stood")
        found = message_differences(old, new)
        counts = [f"{len(messages)} events, {_digest(*(one.value for one in messages))}" for messages in (old, new)]
        yield Check("outbox: events on the topic", *counts, not found.changed and bool(old), str(found))

    @contextlib.contextmanager
    def _broker(self) -> Iterator[str]:
        """Run an embedded broker of the revision; yields its address."""
        command = [sys.executable, "-c", BROKER, str(self._scratch / "broker")]
        with subprocess.Popen(
            command,
            cwd=self.base.folder,
            env=self.base.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            if not (bootstrap := process.stdout.readline().strip()):
                raise CommandFailed("base: the embedded broker did not start")
            yield bootstrap  # leaving closes its standard input, which ends it

    def _published(self, tree: Tree, bootstrap: str, outbox: Path, expected: int) -> list[Message]:
        """Run a tree's worker over a copy of the outbox, without a Triton; return what its topic then holds.

        The worker publishes what an earlier one left while it waits for the scorer.
        """
        folder = self._scratch / f"worker-{tree.name}"
        shutil.copytree(outbox, folder / "state")
        with socket.socket() as taken:  # bound and not listening: every connection is refused
            taken.bind(("127.0.0.1", 0))
            site = {
                "site": "same-results",
                "state_dir": "state",
                "triton": {"address": f"127.0.0.1:{taken.getsockname()[1]}"},
                "kafka": {"bootstrap": bootstrap, "topic": tree.name},
                "cameras": {"film": {"source": str(self._data / "cctv" / SITE_FILMS[0])}},
            }
            (folder / "site.yaml").write_text(yaml.safe_dump(site), encoding="utf-8")
            with worker(tree, folder) as process:
                return topic(bootstrap, tree.name, expected, alive=lambda: process.poll() is None)


CHECKS: dict[str, Callable[[Comparison], Iterator[Check]]] = {
    "films": Comparison.films,
    "cctv": Comparison.cctv,
    "courtyard": Comparison.courtyard,
    "site-file": Comparison.site_file,
    "training": Comparison.training,
    "outbox": Comparison.outbox,
}


class RunFolder:
    """The files of one replay. Events that are not alerts are passed over."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.scores_file = folder / "scores.parquet"
        self.scores: pa.Table = parquet.read_table(self.scores_file)
        events = self._lines("alerts.jsonl")
        self.alert_lines = [line for line in events if json.loads(line)["type"].startswith("mistwatch.alert.")]
        self.alerts: list[Any] = [json.loads(line) for line in self.alert_lines]
        self.videos = [json.loads(line) for line in self._lines("videos.jsonl")]
        settings = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        self.settings = {name: value for name, value in settings.items() if name not in UNCOMPARED}

    def clips(self) -> str:
        """Return the number of scored clips and a digest of the scores' file, for the table."""
        return f"{self.scores.num_rows} clips, {_digest(self.scores_file.read_bytes())}"

    def events(self) -> str:
        """Return the numbers of alert events by their kind, for the table."""
        states = [alert["type"].rpartition(".")[2] for alert in self.alerts]
        counts = ", ".join(f"{states.count(state)} {state}" for state in ("begin", "update", "end"))
        return f"{len(states)} events ({counts})"

    def _lines(self, name: str) -> list[str]:
        return (self._folder / name).read_text(encoding="utf-8").splitlines()


def _video_auc(card: dict[str, Any]) -> float:
    """Return the AUC out of fold in a generator's card; 0.1.0 took it on overlapping clips, later versions as live."""
    figures = card["figures"]["out_of_fold"]
    found: float = figures["stage_1"]["video_auc"]["value"] if "stage_1" in figures else figures["video_auc_mean"]
    return found


def train(tree: Tree, videos: Path, out: Path, cache: Path) -> Path:
    """Train the courtyard's generator on a rendered data set; return the folder of the weights and the card.

    Args:
        cache: folder in which the features are kept; made if it is not there.

    Raises:
        CommandFailed: the command failed, or wrote no generator.
    """
    command = tree.training_command(videos / "manifest.jsonl")
    tree.mistwatch(*command, "--config", tree.folder / RECIPE, "--out", out, cache=empty_cache(cache))
    found = sorted(out.rglob("generator.safetensors"))
    if len(found) != 1:
        raise CommandFailed(
            f"{tree.name}: mistwatch {' '.join(map(str, command[:2]))} wrote {len(found)} generators, not 1"
        )
    return found[0].parent


@contextlib.contextmanager
def worker(tree: Tree, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``mistwatch run`` over ``folder/site.yaml``, its output in ``folder/worker.log``; end it by SIGTERM."""
    command = [sys.executable, "-m", "pipeline.cli", "run", "--config", str(folder / "site.yaml")]
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tree.folder, env=tree.environment(), stdout=log, stderr=log)
    try:
        yield process
        if process.poll() is not None:
            said = (folder / "worker.log").read_text(errors="replace").strip().splitlines()[-1:]
            raise CommandFailed(f"{tree.name}: the worker ended with status {process.returncode}: {''.join(said)}")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def topic(bootstrap: str, name: str, expected: int, *, alive: Callable[[], bool]) -> list[Message]:
    """Read a topic from its beginning until it has ``expected`` messages and is silent.

    Args:
        alive: returns False when no more messages will come.
    """
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, allow_auto_create_topics=False)
    found: list[Message] = []
    until = time.monotonic() + DELIVERY_SECONDS
    try:
        while time.monotonic() < until and alive():
            if not consumer.assignment():
                numbers = consumer.partitions_for_topic(name)
                if not numbers:  # the relay makes the topic
                    time.sleep(POLL_SECONDS)
                    continue
                consumer.assign([TopicPartition(name, number) for number in numbers])
                consumer.seek_to_beginning()
            for messages in consumer.poll(timeout_ms=int(POLL_SECONDS * 1000)).values():
                found += [Message(one.key, masked(one.value), tuple(one.headers)) for one in messages]
                if len(found) >= expected:
                    until = time.monotonic() + SILENCE_SECONDS
    finally:
        consumer.close()
    return found


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): _digest(file.read_bytes()) for file in files}


def _short(digests: dict[str, str]) -> str:
    return f"{len(digests)} files, {_digest(json.dumps(digests).encode())}"


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:12]


# -- the command and its page ------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", help="the earlier revision, as git names it")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of cctv/")
    parser.add_argument("--only", nargs="+", choices=CHECKS, help="run these checks alone and write no results")
    parser.add_argument(
        "--train", type=Path, metavar="FOLDER", help="train on all videos; films and features are kept there"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of same_results.json and .md")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # so that the checkout is removed
    commit = git("rev-parse", "--verify", f"{options.revision}^{{commit}}")
    present_commit = git("describe", "--always", "--dirty", "--exclude=*")
    began = time.monotonic()
    checks: list[Check] = []
    with (
        tempfile.TemporaryDirectory(prefix="same-results-") as scratch,
        checked_out(commit, Path(scratch, "base")) as base,
    ):
        present = Tree("present", ROOT)
        for tree in (base, present):
            tree.check_imports()
        trained_in = options.train.absolute() if options.train else None
        comparison = Comparison(base, present, Path(scratch, "work"), options.data.absolute(), trained_in)
        for name in options.only or CHECKS:
            checks += checked(name, comparison)
            print(f"{name}: done after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    found = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "base": commit,
        "present": present_commit,
        "machine": {"cpu": platform.machine(), "cores": len(os.sched_getaffinity(0))},
        "versions": {package: version(package) for package in ("av", "openvino", "torch", "numpy")},
        "seconds": round(time.monotonic() - began),
        "checks": [asdict(check) for check in checks],
    }
    if not options.only:
        record(options.results, "same_results", found, page(found))
    print(page(found))
    sys.exit(int(any(check.same is False for check in checks)))


def checked(name: str, comparison: Comparison) -> list[Check]:
    """Return the lines of one group of checks; a command that fails is one that differs."""
    lines: list[Check] = []
    try:
        lines.extend(CHECKS[name](comparison))
    except (CommandFailed, OSError) as error:  # OSError: a file of the run folder is missing
        lines.append(Check(name, "–", "–", False, str(error)))
    return lines


def page(found: dict[str, Any]) -> str:
    """Return the table for people."""
    packages = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    lines = [
        f"# The same results as {found['base'][:7]}",
        "",
        f"Revision `{found['base'][:12]}` (base) and `{found['present']}` (present), run with the same packages "
        f"({packages}) on {found['machine']['cores']} cores, in {found['seconds']} s. Twelve digits begin a SHA-256. "
        "Scores and weights are compared exactly. `bench/same_results.py` writes this page.",
        "",
        "| check | base | present | | note |",
        "|---|---|---|---|---|",
    ]
    for check in found["checks"]:
        verdict = {True: "same", False: "**different**", None: "not run"}[check["same"]]
        note = check["note"].replace("|", "\\|")
        lines.append(f"| {check['check']} | {check['base']} | {check['present']} | {verdict} | {note} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
