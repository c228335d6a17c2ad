"""The options that name a topic, and its alerts in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.alerts.tail import moment_of, report

if TYPE_CHECKING:
    from pipeline.alerts.topic_memory import SiteMemory

Bootstrap = Annotated[str, typer.Option(help="Kafka brokers, HOST:PORT[,HOST:PORT…].")]
Topic = Annotated[str, typer.Option(help="Topic with the events.")]
Since = Annotated[
    str | None,
    typer.Option(
        help="Read events from 10d (s, m, h, d) ago or from an ISO 8601 time on.", show_default="all of the topic"
    ),
]
Site = Annotated[str | None, typer.Option(help="Site, where the topic has several.", show_default="the only one")]

DEFAULT_TOPIC = "mistwatch.alerts"


def read_memory(bootstrap: str, topic: str, since: str | None, site: str | None) -> SiteMemory:
    """Return the alerts of a site that the topic holds now, with a line on standard error on those left out.

    Raises:
        UsageError: an option cannot be used, or the topic has several sites.
        MistwatchError: the topic cannot be read to its end, or has no alerts, or none with likeness.
    """
    moment = moment_of(since)
    from pipeline.alerts.topic_memory import TopicMemory
    from pipeline.errors import MistwatchError
    from pipeline.sinks.kafka_broker import Broker
    from pipeline.sinks.topic_end import read_to_end

    memory, foreign = TopicMemory(), 0

    def count(_where: str, so_far: int) -> None:
        nonlocal foreign
        foreign = so_far

    for read in read_to_end(Broker(bootstrap), topic, since=moment, on_foreign=count):
        memory.take(read.event)
    if foreign:
        report(f"messages that are not events of this version are left out ({foreign})")
    try:
        found = memory.of_site(site)
    except MistwatchError as error:
        error.args = (f"{topic} at {bootstrap}: {error}",)
        raise
    for line in found.left_out:
        report(line)
    return found
