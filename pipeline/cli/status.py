"""``mistwatch status``: print the state of each camera, as its worker last reported it."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.output import ascii_json, discard_output
from pipeline.errors import MistwatchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from pipeline.alerts.camera_report import CameraReport
    from pipeline.sinks.compacted_topic import CompactedTopic, Record

#: Seconds from one reading of the topic to the next, with ``--follow``.
_FOLLOW_SECONDS = 2.0
#: Characters of an alert's id that are shown; ``mistwatch alerts`` takes these.
_SHORT_ID = 8


def status(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The site's configuration, which names brokers and topic.")
    ] = None,
    bootstrap: Annotated[str | None, typer.Option(help="Kafka brokers, HOST:PORT[,HOST:PORT…].")] = None,
    topic: Annotated[str, typer.Option(help="With --bootstrap: topic with the cameras' states.")] = "mistwatch.cameras",
    site: Annotated[str | None, typer.Option(help="Only the cameras of this site; with --config, of its site.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document per camera.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print again every 2 s, until Ctrl-C.")] = False,
) -> None:
    """Print the state of each camera on the topic mistwatch.cameras.

    A state is stale when its worker has not repeated it for three heartbeats (30 s): the worker is gone, or cannot
    reach the broker. Exit with status 1 where a camera has failed or its state is stale, or no camera is there. User,
    password and TLS come from the configuration, or with --bootstrap from the environment:
    MISTWATCH_KAFKA__SECURITY__USER, …__PASSWORD, …__TLS_CA.
    """
    from pipeline.cli.live import stopping

    source, site = _source(config, bootstrap, topic, site)
    try:
        if not follow:
            _finish(_show(source, site, as_json=as_json))
            return
        with stopping() as stop:
            while not stop.is_set():
                _follow(source, site, as_json=as_json)
                stop.wait(_FOLLOW_SECONDS)
    except BrokenPipeError:
        discard_output()


def _source(
    config: Path | None, bootstrap: str | None, topic: str, site: str | None
) -> tuple[CompactedTopic, str | None]:
    """Return the topic to read and the site to show. Raises UsageError."""
    from pipeline.sinks.compacted_topic import CompactedTopic
    from pipeline.sinks.kafka_broker import Broker

    if (config is None) == (bootstrap is None):
        raise UsageError("status: name the brokers with --bootstrap, or a configuration with --config")
    if config is None:
        assert bootstrap is not None
        return CompactedTopic(Broker(bootstrap), topic, partitions=1, create=False), site
    from pipeline.settings import load_either_site

    settings = load_either_site(config)
    kafka = settings.kafka
    if kafka.cameras_topic is None:
        raise UsageError(f"{config}: kafka.cameras_topic is null, so the cameras' states are not published")
    broker = Broker(kafka.bootstrap, kafka.security)
    return CompactedTopic(broker, kafka.cameras_topic, partitions=1, create=False), site or settings.site


class _Line:
    """A camera's report, and whether it is stale."""

    def __init__(self, report: CameraReport, record: Record, now: datetime) -> None:
        self.report = report
        self.age_seconds = max(0.0, (now - record.published_at).total_seconds())
        self.is_stale = report.is_stale(record.published_at, now)

    @property
    def is_bad(self) -> bool:
        return self.is_stale or self.report.state == "failed"


def _read(topic: CompactedTopic, site: str | None) -> list[_Line]:
    """Return the cameras of a site, or of all, by name. Raises BrokerUnavailableError."""
    from pydantic import ValidationError

    from pipeline.alerts.camera_report import CameraReport

    now = datetime.now(UTC)
    lines = []
    for key, record in sorted(topic.latest().items()):
        try:
            report = CameraReport.model_validate_json(record.value or b"")
        except ValidationError:
            place = f"{topic.topic}, partition {record.partition}, offset {record.offset}"
            print(f"mistwatch: camera {key!r}: not a state of this version, left out: {place}", file=sys.stderr)
            continue
        if site is None or report.site == site:
            lines.append(_Line(report, record, now))
    return lines


def _show(topic: CompactedTopic, site: str | None, *, as_json: bool) -> list[_Line]:
    """Read and print the cameras. Raises BrokerUnavailableError."""
    lines = _read(topic, site)
    if as_json:
        for line in lines:
            document = line.report.model_dump(mode="json") | {
                "stale": line.is_stale,
                "age_seconds": round(line.age_seconds, 1),
            }
            print(ascii_json(json.dumps(document)), flush=True)
    else:
        from rich.console import Console

        Console(highlight=False, markup=False).print(table(lines))
    return lines


def _follow(topic: CompactedTopic, site: str | None, *, as_json: bool) -> None:
    """Read and print once; a broker that is away is reported, and asked again."""
    from pipeline.sinks.kafka_broker import BrokerUnavailableError

    try:
        _show(topic, site, as_json=as_json)
    except BrokerUnavailableError as error:
        print(f"mistwatch: waiting: {error}", file=sys.stderr, flush=True)


def _finish(lines: Sequence[_Line]) -> None:
    """Raise MistwatchError where a camera needs an operator."""
    if not lines:
        raise MistwatchError("no camera has reported its state")
    stale = [line.report.camera for line in lines if line.is_stale]
    failed = [line.report.camera for line in lines if line.report.state == "failed" and not line.is_stale]
    problems = [f"stale: {', '.join(stale)}"] * bool(stale) + [f"failed: {', '.join(failed)}"] * bool(failed)
    if problems:
        raise MistwatchError(
            f"{len(stale) + len(failed)} of {len(lines)} cameras need attention: {'; '.join(problems)}"
        )


def table(lines: Sequence[_Line]) -> Table:
    """Return the cameras as a table."""
    from rich.table import Table
    from rich.text import Text

    from pipeline.cli.display import STATE_STYLES
    from pipeline.live.supervision import State

    sites = {line.report.site for line in lines}
    rows = Table(box=None, header_style="bold", pad_edge=False)
    for header in (*(("site",) if len(sites) > 1 else ()), "camera"):
        rows.add_column(header, overflow="fold")
    for header in ("state", "for", "reason"):
        rows.add_column(header)
    rows.add_column("worker", overflow="fold")
    for header in ("last frame", "scored", "gated", "dropped"):
        rows.add_column(header, justify="right", no_wrap=True)
    rows.add_column("open alerts")
    for line in lines:
        report = line.report
        known = report.state in {state.value for state in State}
        style = STATE_STYLES.get(State(report.state), "") if known else ""
        state = Text(report.state.replace("_", " "), style)
        if line.is_stale:
            state = Text(f"stale ({_span(line.age_seconds)}), was {state.plain}", "bold yellow")
        # Ages at the time of the report, by the worker's own clock, and since then by the broker's.
        at = report.reported_at
        rows.add_row(
            *((report.site,) if len(sites) > 1 else ()),
            report.camera,
            state,
            _span((at - report.since).total_seconds() + line.age_seconds),
            Text((report.message or report.reason or "").removeprefix(f"camera {report.camera}: ")),
            report.worker,
            "–"
            if report.last_frame_at is None
            else f"{_span((at - report.last_frame_at).total_seconds() + line.age_seconds)} ago",
            str(report.clips.scored),
            str(report.clips.gated),
            str(sum(report.clips.dropped.values())),
            " ".join(str(identity)[:_SHORT_ID] for identity in report.open_alerts),
        )
    return rows


def _span(seconds: float) -> str:
    """Return a length of time in one unit or two: ``4 s``, ``12 min``, ``3 h 05 min``, ``2 d 7 h``."""
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if minutes == 0:
        return f"{whole} s"
    if hours == 0:
        return f"{minutes} min"
    if days == 0:
        return f"{hours} h {minutes % 60:02d} min"
    return f"{days} d {hours % 24} h"
