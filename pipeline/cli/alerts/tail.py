"""``mistwatch alerts tail``: print the events on the topic."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.output import discard_output
from pipeline.errors import MistwatchError, UsageError

if TYPE_CHECKING:
    from pipeline.cli.live import Stop
    from pipeline.sinks.tail import TopicEvent


class _StandardError:
    """Reports on standard error, and keeps the reason why nothing can be read."""

    def __init__(self, topic: str, bootstrap: str) -> None:
        self._place = f"{topic} at {bootstrap}"
        self.outage: str | None = None

    def listening(self) -> None:
        self.outage = None
        report(f"listening to {self._place}")

    def waiting(self, reason: str) -> None:
        self.outage = reason
        report(f"waiting: {reason}")

    def foreign_message(self, where: str, count: int) -> None:
        # The 1st, 10th, 100th …: a topic full of other messages must not flood the terminal.
        if count == 10 ** (len(str(count)) - 1):
            report(f"not an event of this version, left out ({count} so far): {where}")


def tail(
    bootstrap: Annotated[str, typer.Option(help="Kafka brokers, HOST:PORT[,HOST:PORT…].")],
    topic: Annotated[str, typer.Option(help="Topic with the events.")] = "mistwatch.alerts",
    camera: Annotated[list[str] | None, typer.Option(help="Print only this camera; may be repeated.")] = None,
    since: Annotated[str | None, typer.Option(help="Start 10m (s, m, h, d) ago or at an ISO 8601 time.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document per line.")] = False,
    count: Annotated[int | None, typer.Option(min=1, help="Exit after this many events.")] = None,
    timeout: Annotated[float, typer.Option(min=0, help="With --count: seconds to wait for the events.")] = 30.0,
) -> None:
    """Print events as they are published, until Ctrl-C or SIGTERM.

    Without --count, wait for a missing broker or topic. With --count, exit with status 1 when fewer events arrive in
    time. User, password and TLS come from the environment: MISTWATCH_KAFKA__SECURITY__USER, …__PASSWORD, …__TLS_CA.
    """
    from pipeline.cli.live import stopping

    reports = _StandardError(topic, bootstrap)
    seen = 0
    try:
        with stopping() as stop:  # from here on: the imports take a second on a slow machine
            from pipeline.sinks.kafka_broker import Broker
            from pipeline.sinks.tail import TopicReader

            give_up_at = math.inf if count is None else time.monotonic() + timeout
            reader = TopicReader(
                Broker(bootstrap),
                topic,
                since=moment_of(since),
                listener=reports,
                # The signal itself: Python discards what its handler raises in a finalizer.
                stopped=lambda: stop.signal is not None or time.monotonic() >= give_up_at,
            )
            with contextlib.closing(reader.events()) as events:
                while (read := _next(events, stop)) is not None:
                    if camera and read.event.subject not in camera:
                        continue
                    print(read.as_json() if json else read.as_text(), flush=True)
                    seen += 1
                    if seen == count:
                        return
    except BrokenPipeError:
        discard_output()
        return
    if count is None:
        return  # a signal is the usual way to stop it
    if stop.signal is not None:
        raise MistwatchError(f"interrupted after {seen} of {count} events")
    why = reports.outage or f"topic {topic} at {bootstrap} has no more events"
    raise MistwatchError(f"{seen} of {count} events within {timeout:g} s: {why}")


def _next(events: Iterator[TopicEvent], stop: Stop) -> TopicEvent | None:
    """Return the next event, None when there are no more. A signal ends the wait, but not a line that is printed."""
    with stop.at_once():
        return next(events, None)


def moment_of(since: str | None) -> datetime | None:
    """Return the moment of ``--since``. Raises UsageError."""
    from pipeline.sinks.tail import parse_since

    try:
        return None if since is None else parse_since(since, datetime.now(UTC))
    except ValueError as error:
        raise UsageError(f"--since: {error}") from None


def report(text: str) -> None:
    """Print a line on standard error."""
    print(f"mistwatch: {text}", file=sys.stderr, flush=True)
