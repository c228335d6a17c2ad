"""Publishes a judgement, and waits until the broker has it."""

from __future__ import annotations

from datetime import datetime

from pipeline.alerts.judgement import JudgementEvent
from pipeline.errors import MistwatchError
from pipeline.printable import printable
from pipeline.sinks.base import Verdict
from pipeline.sinks.kafka import KafkaSink


def publish_judgement(sink: KafkaSink, event: JudgementEvent, now: datetime) -> None:
    """Send the event and wait for the broker's acknowledgement.

    Raises:
        SinkUnavailableError: the broker or the topic cannot be used now.
        MistwatchError: it was not acknowledged.
    """
    with sink.connect():
        [answer] = sink.send([event.published(now)], lambda _explain: True)
    if answer.verdict is not Verdict.ACKNOWLEDGED:
        raise MistwatchError(printable(f"{sink}: the judgement is not published: {answer.reason}; run it again"))
