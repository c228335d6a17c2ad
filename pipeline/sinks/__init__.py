"""The destinations of alerts, and the table that maps a site's settings to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.sinks.base import Sink
from pipeline.unquoted import explain_unquoted


@dataclass(frozen=True, slots=True)
class SinkKind:
    """A kind of sink.

    Attributes:
        make: makes the sink from its settings. Raises UsageError for settings that cannot be used, for example a
            password file that cannot be read.
        settings: the settings of a sink under ``sinks:`` in a site's configuration; None for Kafka, which has a key of
            its own there.
    """

    make: Callable[[Any], Sink]
    settings: type[BaseModel] | None = None


def _kafka(settings: Any) -> Sink:
    from pipeline.sinks.kafka import KafkaSink

    return KafkaSink.from_settings(settings)


#: Every kind of sink. The key is its key in a site's configuration and its name in the outbox.
SINKS: dict[str, SinkKind] = {
    "kafka": SinkKind(_kafka),
}


def read_settings(name: str, document: object) -> BaseModel:
    """Return the settings of the sink ``name`` under ``sinks:``.

    Raises:
        ValueError: the sink is unknown, or a setting is invalid; one line.
    """
    kind = SINKS.get(name)
    if kind is None or kind.settings is None:
        known = ", ".join(known for known, kind in SINKS.items() if kind.settings is not None)
        raise ValueError(f"unknown sink {name}; expected {known or 'none (Kafka has the key kafka)'}")
    try:
        return kind.settings.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, (name, *first["loc"])))
        problem = explain_unquoted(first) or first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{where}: {problem}") from None


def configured_sinks(settings: Mapping[str, Any]) -> dict[str, Sink]:
    """Return the sinks by name, in the order of :data:`SINKS`.

    Args:
        settings: the settings of each configured sink by its name.

    Raises:
        UsageError: settings that cannot be used; one line.
    """
    return {name: kind.make(settings[name]) for name, kind in SINKS.items() if name in settings}
