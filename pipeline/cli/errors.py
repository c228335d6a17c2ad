"""How a command fails: one line on standard error and an exit status, never a traceback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pipeline.errors import MistwatchError


class CommandFailure(MistwatchError):
    """Ends a command with one clear line. Use one of the two subclasses."""


class UsageFailure(CommandFailure):
    """Usage, configuration or missing files: status 2. The line names the thing and what was expected."""

    exit_status = 2


class RunFailure(CommandFailure):
    """Something went wrong while running: status 1. The line names what happened and what to do."""

    exit_status = 1


#: SourceErrors that a person mends by giving another argument; the others are failures at run time.
_USAGE_CODES = frozenset({"not_found", "not_a_video", "no_video_stream", "usage"})


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn the running system's own errors, each one line already, into failures with the right status."""
    from pydantic import ValidationError

    from pipeline.alerts.outbox import OutboxError
    from pipeline.live.metrics import MetricsError
    from pipeline.scoring.dispatcher import ClipMismatch, ScorerError
    from pipeline.settings import SettingsError
    from pipeline.sinks.connection import BrokerUnavailableError, KafkaSecurityError
    from pipeline.sources.base import SourceError

    try:
        yield
    except SourceError as error:
        raise (UsageFailure if error.code in _USAGE_CODES else RunFailure)(str(error)) from error
    except ValidationError:
        raise  # a ValueError, and a bug
    except (ClipMismatch, KafkaSecurityError, SettingsError, ValueError) as error:
        raise UsageFailure(str(error)) from error
    except (ScorerError, BrokerUnavailableError, OutboxError, MetricsError) as error:
        raise RunFailure(str(error)) from error
    except OSError as error:
        raise RunFailure(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from error
