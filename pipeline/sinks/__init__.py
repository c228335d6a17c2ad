"""The destinations of alerts, and the table that maps a site's settings to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.sinks.base import KnowsSite, Sink
from pipeline.sinks.mqtt_settings import MqttSettings
from pipeline.sinks.webhook_settings import WebhookSettings
from pipeline.unquoted import explain_unquoted


@dataclass(frozen=True, slots=True)
class SinkKind:
    """A kind of sink.

    Attributes:
        make: makes the sink from its settings. Raises UsageError for settings that cannot be used, for example a
            password file that cannot be read.
        settings: the settings of a sink under ``sinks:`` in a site's configuration; None for Kafka, which has a key of
            its own there.
        most_backoff_seconds: the longest pause between two attempts to send.
    """

    make: Callable[[Any], Sink]
    settings: type[BaseModel] | None = None
    most_backoff_seconds: float = 1.0


def _kafka(settings: Any) -> Sink:
    from pipeline.sinks.kafka import KafkaSink

    return KafkaSink.from_settings(settings)


def _webhook(settings: Any) -> Sink:
    from pipeline.sinks.webhook import WebhookSink

    return WebhookSink(settings)


def _mqtt(settings: Any) -> Sink:
    from pipeline.sinks.mqtt import MqttSink

    return MqttSink(settings)


#: Every kind of sink. The key is its key in a site's configuration and its name in the outbox.
SINKS: dict[str, SinkKind] = {
    "kafka": SinkKind(_kafka),
    "webhook": SinkKind(_webhook, WebhookSettings, most_backoff_seconds=30.0),  # it may be another company's server
    "mqtt": SinkKind(_mqtt, MqttSettings),
}


def read_settings(name: str, document: object) -> BaseModel:
    """Return the settings of the sink ``name`` under ``sinks:``.

    Raises:
        ValueError: the sink is unknown, or a setting is invalid; one line.
    """
    kind = SINKS.get(name)
    if kind is None or kind.settings is None:
        known = ", ".join(known for known, kind in SINKS.items() if kind.settings is not None)
        raise ValueError(f"unknown sink {name}; expected {known} (Kafka has the key kafka)")
    try:
        return kind.settings.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, (name, *first["loc"])))
        problem = explain_unquoted(first) or first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{where}: {problem}") from None


def configured_sinks(
    settings: Mapping[str, Any], *, site: str = "site", cameras: Sequence[str] = (), worker: str | None = None
) -> dict[str, Sink]:
    """Return the sinks by name, in the order of :data:`SINKS`.

    Args:
        settings: the settings of each configured sink by its name.
        site, cameras, worker: see :meth:`pipeline.sinks.base.KnowsSite.introduce`.

    Raises:
        UsageError: settings that cannot be used; one line.
    """
    sinks = {name: kind.make(settings[name]) for name, kind in SINKS.items() if name in settings}
    for sink in sinks.values():
        if isinstance(sink, KnowsSite):
            sink.introduce(site, cameras, worker)
    return sinks
