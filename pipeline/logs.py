"""Structured logs: one line an event, on standard error, with all credentials removed."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Mapping, MutableMapping
from types import TracebackType
from typing import Any, Literal, TextIO, cast

import structlog

from pipeline.sources.credentials import HIDDEN, names_secret, redact

LogFormat = Literal["auto", "console", "json"]


class _StandardError:
    """Standard error at the time of writing: the live table replaces it by one that writes above the table."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _redact_values(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Redact every value: FFmpeg puts the whole URL, password included, into every exception's text."""
    for key, value in event.items():
        event[key] = _redacted(value)
    return event


def _redacted(value: Any) -> Any:
    """Return a value without credentials: numbers as they are, text redacted, of everything else its redacted text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {
            redact(str(key)): HIDDEN if names_secret(str(key)) and isinstance(each, str) else _redacted(each)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(each) for each in value]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    return redact(value if isinstance(value, str) else str(value))


def redact_tracebacks() -> None:
    """Let the traceback of an error that nothing handles, in any thread, show no credentials."""

    def show(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))

    def show_of_thread(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_type is SystemExit:
            return
        name = arguments.thread.name if arguments.thread is not None else "?"
        sys.stderr.write(f"Exception in thread {name}:\n")
        show(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)

    sys.excepthook = show
    threading.excepthook = show_of_thread


def configure(fmt: LogFormat = "auto", level: str = "info") -> None:
    """Send every log line to standard error: for people on a terminal, as JSON lines elsewhere.

    Args:
        fmt: ``auto`` chooses ``console`` on a terminal and ``json`` elsewhere.
    """
    on_terminal = sys.stderr.isatty()
    as_json = fmt == "json" or (fmt == "auto" and not on_terminal)
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=on_terminal)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redact_values,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _StandardError())),
        cache_logger_on_first_use=False,
    )
    # kafka-python and grpc log every reconnection; our listeners log it once and better.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    logging.getLogger("libav").setLevel(logging.CRITICAL)


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return a logger whose lines carry ``component=name``."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=name)
    return logger


# A command that hardly logs may not configure anything. Its lines, too, go to standard error without credentials.
if not structlog.is_configured():
    configure()
