"""Replays recordings for the commands that need it: ``replay``, ``evaluate`` and ``calibrate``."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pipeline.errors import MistwatchError, UsageError
from pipeline.names import checked_name
from pipeline.printable import printable

if TYPE_CHECKING:
    from pipeline.cli.live import Stop
    from pipeline.replay.publishing import Publishing
    from pipeline.replay.replay import Outcome, Replay, Settled
    from pipeline.runs.recordings import Wanted
    from pipeline.settings import Site
    from pipeline.sources.archive import Joining

#: Number of problems that are listed.
_LISTED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of a replay, common to ``mistwatch replay``, ``evaluate`` and ``calibrate``.

    Attributes:
        config: a site, which gives clips, thresholds, calibration, Triton and broker; a recording that is named for
            one of its cameras gets that camera's settings.
        model: as :func:`pipeline.cli.repository.serving`; None: the model on the site's Triton, else the default.
        triton: HOST:PORT; None: the site's, else an embedded one.
        speed: multiple of a recording's clock; None: as fast as scoring allows.
        start_time: wall-clock time of the one recording's first frame.
        detector: the site's detector that scores; None: its only one.
        part: camera whose part scores, of a model that hosts the parts of several; None: ``camera``, else the
            detector's, else the site's only one.
        camera: the only one whose footage matters; None: all.
        stream: number of the video stream to read of each film; None: the first.
        split: replay only the recordings in this split of the manifests; None: all.
        jobs: recordings at a time; None: one for each core, at least two.
        skip_bad: do not fail because of recordings that cannot be replayed.
        publish: topic for the alert events.
        kafka: HOST:PORT of the broker; None: the site's.
        joining: the way in which files become recordings; None: those whose names state camera and time are joined.
    """

    config: Path | None = None
    model: str | None = None
    triton: str | None = None
    speed: float | None = None
    start_time: datetime | None = None
    detector: str | None = None
    part: str | None = None
    camera: str | None = None
    stream: int | None = None
    split: str | None = None
    jobs: int | None = None
    skip_bad: bool = False
    publish: str | None = None
    kafka: str | None = None
    joining: Joining | None = None


def replay_into(
    folder: Path,
    places: list[Path],
    options: Options,
    *,
    as_json: bool = False,
    settled: Settled = lambda _settings: None,
) -> Outcome:
    """Replay ``places`` into ``folder`` with progress on standard error; on return the run is complete.

    Args:
        as_json: write the alert events as JSON lines to standard output.
        settled: see :class:`pipeline.replay.replay.Replay`.

    Raises:
        MistwatchError: one line for each problem. Finished recordings are kept, and the same call continues.
        typer.Exit: a signal ended it.
    """
    from pipeline.cli.live import stopping
    from pipeline.runs.parts import alone_in

    require_evaluate()
    recordings = _recordings(places, options)
    outcome: Outcome | None = None
    unsent: list[str] = []
    with stopping() as stop, alone_in(folder):
        outcome = _run(folder, recordings, options, stop, unsent, settled, as_json=as_json)
    if outcome is None or outcome.stopped or (unsent and stop.is_set()):
        for line in unsent:
            print(f"mistwatch: {line}", file=sys.stderr)
        done = f"{len(outcome.rows)} of {outcome.recordings} recordings are done" if outcome else "nothing was begun"
        print(f"mistwatch: stopped, {done}; the same command with --out {folder} goes on", file=sys.stderr)
        raise typer.Exit(128 + stop.signal if stop.signal is not None else 1)
    return replace(outcome, unsent=tuple(unsent))


def require_evaluate() -> None:
    """Raise UsageError where the extra that keeps and judges scores is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise UsageError("this command needs the package pyarrow: pip install 'mistwatch[evaluate]'") from None


def refuse_failures(outcome: Outcome, options: Options) -> None:
    """Report recordings that could not be replayed, and events that are not on the topic.

    Raises:
        MistwatchError: a recording failed and ``skip_bad`` is not set, or every recording failed, or an event is not
            on the topic.
    """
    failed = [f"not replayed: {row.name}: {row.error}" for row in outcome.rows if row.error is not None]
    nothing = len(failed) == len(outcome.rows)
    failed += outcome.unread
    more = [f"and {len(failed) - _LISTED} more: see videos.jsonl"] if len(failed) > _LISTED else []
    lines = [printable(line) for line in failed[:_LISTED] + more]  # a name with a line break stays in its line
    if outcome.unsent or (failed and (nothing or not options.skip_bad)):
        raise MistwatchError("\n".join([*lines, *map(printable, outcome.unsent)]))
    for line in lines:
        print(f"mistwatch: {line}", file=sys.stderr)


def _recordings(places: list[Path], options: Options) -> list[Wanted]:
    from pipeline.cli.archives import to_be_joined
    from pipeline.runs.recordings import wanted
    from pipeline.sources.archive import BY_NAMES
    from pipeline.sources.film_files import PassedOver

    joining = options.joining or BY_NAMES
    skipped: list[str] = []
    passed_over = PassedOver()
    recordings = wanted(
        places,
        skipped=skipped if options.skip_bad else None,
        passed_over=passed_over,
        joining=joining,
    )
    for line in skipped:
        print(f"skipped: {printable(line)}", file=sys.stderr)
    for note in (passed_over.line(), to_be_joined(recordings, joining)):
        if note is not None:
            print(f"mistwatch: {printable(note)}", file=sys.stderr)
    chosen = [one for one in recordings if options.split in (None, one.split)]
    if not chosen:
        splits = ", ".join(sorted({one.split or "none" for one in recordings}))
        named = ", ".join(map(str, places))
        raise UsageError(f"{named}: no video in split {options.split}; the manifest has {splits}")
    if options.start_time is not None and len(chosen) > 1:
        raise UsageError(f"--start-time needs exactly one recording (got {len(chosen)})")
    if options.stream is None:
        return recordings
    return [replace(one, stream=options.stream) for one in recordings]


def _run(
    folder: Path,
    recordings: list[Wanted],
    options: Options,
    stop: Stop,
    unsent: list[str],
    settled: Settled,
    *,
    as_json: bool,
) -> Outcome:
    """Replay; ``unsent`` receives one line for each event that is not on the topic in the end."""
    from pipeline.cli import embedded
    from pipeline.cli.live import SCORER_PATIENCE_SECONDS
    from pipeline.cli.replay_display import replay_display
    from pipeline.cli.repository import DEFAULT_MODEL, require_model, serving
    from pipeline.replay.replay import Replay
    from pipeline.scoring.served_model import served_model

    site = _site(folder, options)
    detector = _detector(site, options)
    model = site.model_of(detector)
    jobs = options.jobs or min(max(os.cpu_count() or 2, 2), 16)
    with contextlib.ExitStack() as servers:
        own = []
        if options.triton is None and (options.config is None or options.model is not None):
            started = embedded.triton(serving(options.model or DEFAULT_MODEL), folder / "triton.log")
            with stop.at_once():
                own.append(server := servers.enter_context(started))
            model = embedded.MODEL
            site = site.model_copy(update={"triton": site.triton.model_copy(update={"address": server.grpc_address})})
        served, part = served_model(site.triton.endpoint, model), ""
        if served.hosts_parts:
            part = _part(site, detector, options, model)
            served = served_model(site.triton.endpoint, model, part=part)
        elif options.part is not None:
            raise UsageError(f"--part {options.part}: the model {model} hosts no parts of cameras; leave out --part")
        if options.model is not None and not own:
            require_model(options.model, served, site.triton.endpoint)
        topic = servers.enter_context(_publishing(folder, site, options, stop, unsent))
        shown = servers.enter_context(replay_display(as_json=as_json, stop=stop))

        def given_up(away_seconds: float) -> str | None:
            why = embedded.ended(own)
            if why is None and away_seconds > SCORER_PATIENCE_SECONDS:
                why = f"the scorer has been away for {away_seconds:.0f} s: given up"
            return why and f"{why}; the same command with --out {folder} goes on"

        work: Replay = Replay(
            recordings,
            folder,
            site=site,
            served=served,
            detector=detector,
            model=model,
            part=part,
            split=options.split,
            cameras=list(site.cameras) if options.config is not None else [],
            jobs=min(jobs, len(recordings)),
            speed=options.speed,
            start_time=options.start_time,
            acceptance=topic.outbox if topic else None,
            topic=topic.topic if topic else "",
            notify=topic.notify if topic else lambda: None,
            on_event=shown.event,
            repair_scorer=bool(own),
            settled=settled,
        )
        return work.run(stop, show=shown.progress, given_up=given_up)


def _site(folder: Path, options: Options) -> Site:
    """Return the configured site, or one with the model's own settings, with the options on top."""
    from pipeline.settings import load_site, site_from_options

    if options.config is None:
        unnamed = {"recordings": {"source": "those that are named"}}
        site = site_from_options({"site": "replay", "state_dir": folder, "cameras": unnamed})
    else:
        site = load_site(options.config)
    if options.triton is not None:
        checked = site_from_options(
            {"triton": {"address": options.triton}, "cameras": {"any": {"source": "any"}}, "state_dir": folder}
        )
        address = checked.triton.endpoint
        site = site.model_copy(update={"triton": site.triton.model_copy(update={"address": address})})
    return site


def _detector(site: Site, options: Options) -> str:
    """Return the name of the detector that scores; empty at a site that names none. Raises UsageError."""
    names = list(site.detectors)
    if options.detector is not None and options.detector not in names:
        expected = " or ".join(names) if names else "none: the site has no detectors: section"
        raise UsageError(f"--detector {options.detector}: unknown detector; expected {expected}")
    if options.detector is None and len(names) > 1:
        raise UsageError(f"the site has several detectors ({', '.join(names)}): choose one with --detector NAME")
    return options.detector or next(iter(names), "")


def _part(site: Site, detector: str, options: Options, model: str) -> str:
    """Return the part that scores, of a model that hosts the parts of cameras. Raises UsageError: it is not clear."""
    if options.part is not None:
        try:
            return checked_name(options.part)
        except ValueError as error:
            raise UsageError(f"--part {options.part!r}: {error}") from None
    if options.camera is not None:
        return options.camera
    if detector and (camera := site.detectors[detector].camera) is not None:
        return camera
    cameras = list(site.cameras) if options.config is not None else []
    if len(cameras) == 1:
        return cameras[0]
    raise UsageError(
        f"the model {model} hosts the parts of several cameras: choose one with --part CAMERA (calibrate: --camera)"
    )


@contextlib.contextmanager
def _publishing(
    folder: Path, site: Site, options: Options, stop: Stop, unsent: list[str]
) -> Iterator[Publishing | None]:
    """Send the alert events to the named topic, if any; when the block ends, pending events are sent.

    Args:
        unsent: receives one line for each event that could not be sent; after an error they are printed instead.
    """
    if options.publish is None:
        yield None
        return
    from pipeline.replay.publishing import Publishing
    from pipeline.settings import site_from_options
    from pipeline.sinks.kafka_broker import Broker

    if options.kafka is None and options.config is None:
        raise UsageError("--publish needs a broker: --kafka HOST:PORT, or a site with one (--config)")
    asked = {"topic": options.publish, **({"bootstrap": options.kafka} if options.kafka else {})}
    checked = site_from_options({"kafka": asked, "cameras": {"any": {"source": "any"}}, "state_dir": folder}).kafka
    kafka = site.kafka.model_copy(update={key: getattr(checked, key) for key in asked})
    Broker(kafka.bootstrap, kafka.security).check_listening()
    publishing = Publishing(folder, kafka)
    try:
        yield publishing
        publishing.flush(stop)
    except BaseException:
        for line in publishing.close():
            print(f"mistwatch: {line}", file=sys.stderr)
        raise
    unsent += publishing.close()
