"""The probes of a worker: is it alive, and can it watch; asked over HTTP beside the metrics.

``/healthz`` asks for a restart: it fails only where a new process would help, so never for a scorer or a broker that is
away. ``/readyz`` says whether clips are scored and alerts are kept at this moment.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

#: Seconds after which the operators hang. A step takes milliseconds, and a picture on a slow disk seconds.
MOST_STEP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class SinkState:
    """One sink as the probes see it.

    Attributes:
        away: it takes no events at the moment.
        full: so much waits for it that it does not get new alerts.
    """

    name: str
    away: bool
    full: bool


class Probed(Protocol):
    """A service that the probes ask; each call returns at once, on any thread."""

    def dead_threads(self) -> Sequence[str]:
        """Return the names of threads that must run and do not."""

    def step_seconds(self) -> float:
        """Return the seconds since the operators began their present step; 0 while they wait for work."""

    def starting(self) -> str:
        """Return what the start waits for; empty once cameras are watched."""

    def is_stopping(self) -> bool:
        """Return whether the worker is being closed."""

    def scorer_away(self) -> float:
        """Return the seconds since nothing is scored; 0 while the scorer is there."""

    def outbox_blocked(self) -> bool:
        """Return whether the outbox cannot be written at the moment."""

    def sink_states(self) -> Sequence[SinkState]:
        """Return the state of each sink."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of a probe.

    Attributes:
        reasons: why the probe fails, a line each; it succeeds without one.
        notes: troubles that do not make it fail, a line each.
    """

    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def status(self) -> HTTPStatus:
        """200, or 503 where there is a reason."""
        return HTTPStatus.SERVICE_UNAVAILABLE if self.reasons else HTTPStatus.OK

    def to_json(self) -> bytes:
        """Return the body of the answer."""
        document = {"ok": not self.reasons, "reasons": list(self.reasons), "notes": list(self.notes)}
        return json.dumps(document, ensure_ascii=False).encode() + b"\n"


def alive(service: Probed) -> Verdict:
    """Judge whether the worker's threads run and the operators move. A worker that stops is alive."""
    if service.is_stopping():
        return Verdict(notes=("stopping",))
    reasons = [f"thread {name} has ended" for name in service.dead_threads()]
    if (seconds := service.step_seconds()) > MOST_STEP_SECONDS:
        reasons.append(f"the operators have been at one step for {seconds:.0f} s (limit {MOST_STEP_SECONDS:.0f} s)")
    return Verdict(tuple(reasons))


def ready(service: Probed) -> Verdict:
    """Judge whether clips are scored and alerts are kept: the scorer is there, and a sink or the outbox takes them."""
    if service.is_stopping():
        return Verdict(("stopping",))
    if waits_for := service.starting():
        return Verdict((f"starting: {waits_for}",))
    reasons = []
    if (seconds := service.scorer_away()) > 0:
        reasons.append(f"nothing has been scored for {seconds:.0f} s: the scorer or its models are away")
    if service.outbox_blocked():
        reasons.append("the outbox cannot be written")
    sinks = service.sink_states()
    if sinks and all(sink.away and sink.full for sink in sinks):
        reasons.append(f"no sink takes alerts and the outbox is full: {_names(sinks)}")
    notes = [f"sink {sink.name} is away; its alerts are kept" for sink in sinks if sink.away and not sink.full]
    notes += [f"sink {sink.name} does not get new alerts: the outbox is full for it" for sink in sinks if sink.full]
    return Verdict(tuple(reasons), tuple(notes))


def _names(sinks: Iterable[SinkState]) -> str:
    return ", ".join(sink.name for sink in sinks)


_PROBES: dict[str, Callable[[Probed], Verdict]] = {"/healthz": alive, "/readyz": ready}


def with_probes(metrics: WSGIApplication, service: Probed) -> WSGIApplication:
    """Return an application that answers the probes, and everything else as ``metrics`` does."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        probe = _PROBES.get(environ.get("PATH_INFO", ""))
        if probe is None:
            return metrics(environ, start_response)
        verdict = probe(service)
        headers: list[tuple[str, Any]] = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        start_response(f"{verdict.status.value} {verdict.status.phrase}", headers)
        return [verdict.to_json()]

    return answer
