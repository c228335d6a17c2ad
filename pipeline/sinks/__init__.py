"""The destinations of alerts, and the table that maps a site's settings to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.sinks.base import Sink


def _kafka(settings: Any) -> Sink:
    from pipeline.sinks.kafka import KafkaSink

    return KafkaSink.from_settings(settings)


#: Makes a sink from its settings. The key is the sink's key in a site's configuration and its name in the outbox.
SINKS: dict[str, Callable[[Any], Sink]] = {
    "kafka": _kafka,
}


def configured_sinks(site: object) -> dict[str, Sink]:
    """Return a site's sinks by name, in the order of :data:`SINKS`.

    Args:
        site: has an attribute with the settings of each configured sink; a missing attribute and None mean not
            configured.

    Raises:
        UsageError: settings that cannot be used, for example a password file that cannot be read; one line.
    """
    found = {name: getattr(site, name, None) for name in SINKS}
    return {name: SINKS[name](settings) for name, settings in found.items() if settings is not None}
