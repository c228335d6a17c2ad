"""Clips to scores: the asynchronous client of a Triton server, bounded, fair between cameras, patient with outages.

One thread (the dispatcher) owns the traffic: it takes clips from the
:class:`~pipeline.scoring.fair_queue.FairQueue`, sends them, and settles the answers that gRPC's callbacks hand it. One
more thread a camera delivers that camera's outcomes, so that a slow or failing consumer holds up its own camera and no
other.

**What happens to a clip.** Every submitted window is delivered exactly once, as :class:`Scored` or :class:`Dropped`:

=================================  ===============================  ===============================
what happens                       live camera                      recording
=================================  ===============================  ===============================
its queue is full                  the oldest waiting is dropped    ``submit`` waits
the server is away                 back in front of its queue       back in front of its queue
no answer within the deadline      dropped                          sent again
the server refuses this very clip  sent again; then dropped         sent again; then dropped
the model raises on it             sent again, alone; then dropped  sent again, alone; then dropped
=================================  ===============================  ===============================

**Versions.** Clips are sent to whichever version of the model the server serves, and an answer names the version that
gave it. A version that answers for the first time is asked to describe itself: where it takes other clips, or the site
cannot judge its scores, its answer is not used and the clip waits as in an outage, until somebody mends that. The same
holds for a clip that is refused: the model is asked what it is before the clip is sent again, and where it takes other
clips by now, this one waits. So the server may exchange the model under way, and not a clip is lost.

**Memory.** Consumers that keep up: ``capacity`` clips a camera and ``max_in_flight`` over all. A camera whose consumer
hangs: at most ``2 × capacity + max_in_flight`` of its own. A clip is ``clip.nbytes`` (2.4 MB for 16 × 224 × 224) and
the native picture of its middle frame; gRPC holds up to three copies of the pixels of each clip in flight.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton

from pipeline import logs
from pipeline.scoring.fair_queue import FairQueue
from pipeline.scoring.served_model import (
    LOAD_SECONDS,
    ClipMismatch,
    ScorerError,
    ScorerUnavailable,
    ServedModel,
    Trouble,
    connect,
    describe,
    diagnose,
    served_model,
)
from pipeline.windows import ClipSpec, ClipWindow

__all__ = [
    "CameraPort",
    "ClipMismatch",
    "DropReason",
    "Dropped",
    "Scored",
    "Scorer",
    "ScorerError",
    "ScorerUnavailable",
    "ScoringListener",
    "ServedModel",
    "served_model",
    "wait_for_model",
]

#: The first retry follows a failure after this, seconds; each further one after twice the time, up to the longest.
#: Short, because a probe costs two small calls, and seconds count when the server is back.
FIRST_RETRY_SECONDS = 0.2
LONGEST_RETRY_SECONDS = 2.0
#: A served model whose process died this many times in a row without a score between is loaded anew (``repair``).
REPAIR_AFTER_FAILURES = 3
_UNLOAD_SECONDS = 15.0
_DESCRIBE_SECONDS = 5.0

_log = logs.get("scoring")


class DropReason(StrEnum):
    """Why a clip has no score (the reason that metrics show)."""

    OVERLOAD = "overload"  #: a live camera's queue was full, and the scorer at work
    UNAVAILABLE = "unavailable"  #: a live camera's queue was full, and the scorer away
    DEADLINE = "deadline"  #: sent for a live camera, and not answered in time
    ERROR = "error"  #: the server refuses this clip, or answers nonsense
    SHUTDOWN = "shutdown"  #: the camera or the scorer was closed first


@dataclass(frozen=True, slots=True)
class Scored:
    """A window and its score.

    Attributes:
        score: in [0, 1].
        served: the model whose score it is; its version is the one that Triton says has answered.
        scored_at: when this process had the score (UTC).
        attention: float32 (h, w), how much the model looked at each part of the clip's picture, in [0, 1]; None unless
            the scorer asks for it and the model has it.
    """

    window: ClipWindow
    score: float
    served: ServedModel
    scored_at: datetime
    attention: npt.NDArray[np.float32] | None = None

    @property
    def model(self) -> str:
        """The served model's own name."""
        return self.served.name

    @property
    def model_version(self) -> str:
        return self.served.version


@dataclass(frozen=True, slots=True)
class Dropped:
    """A window that has no score and never will; ``detail`` is one line for an operator, or empty."""

    window: ClipWindow
    reason: DropReason
    detail: str = ""


class ScoringListener(Protocol):
    """Hears what happens, for metrics and logs. Must be quick, must not call back; what it raises is logged."""

    def in_flight(self, clips: int) -> None:
        """So many clips are sent and not answered now."""

    def scored(self, camera: str, seconds_in_queue: float, seconds_in_server: float) -> None:
        """A clip was scored; it waited so long for its (last) sending, and so long for its answer."""

    def dropped(self, camera: str, reason: DropReason) -> None:
        """A clip was dropped."""

    def waiting(self, reason: str) -> None:
        """The scorer is away; one line for an operator. Said once an outage, and again when its kind changes."""

    def recovered(self) -> None:
        """The scorer is back: it has scored a clip (or, before the first one, described its model)."""

    def exchanged(self, served: ServedModel) -> None:
        """From here on another model, or another version of it, scores."""


class _Silence:
    def in_flight(self, clips: int) -> None: ...
    def scored(self, camera: str, seconds_in_queue: float, seconds_in_server: float) -> None: ...
    def dropped(self, camera: str, reason: DropReason) -> None: ...
    def waiting(self, reason: str) -> None: ...
    def recovered(self) -> None: ...
    def exchanged(self, served: ServedModel) -> None: ...


def _tell(event: Callable[..., None], *args: object) -> None:
    """Call a consumer or a listener: what it raises is logged, and nobody else's loss."""
    try:
        event(*args)
    except Exception:
        _log.exception("a consumer of scores failed", call=getattr(event, "__qualname__", repr(event)))


def wait_for_model(
    address: str, model: str, stop: threading.Event, listener: ScoringListener | None = None
) -> ServedModel | None:
    """Wait, for ever if need be, until the server at ``address`` serves ``model``; None when ``stop`` is set first.

    Raises:
        ClipMismatch: the model does not say which clips it was trained with.
    """
    listener = listener or _Silence()
    said: Trouble | None = None
    pause = FIRST_RETRY_SECONDS
    with connect(address) as client:
        while not stop.is_set():
            try:
                served = describe(client, address, model, timeout_seconds=_DESCRIBE_SECONDS)
            except ScorerUnavailable as error:
                if error.trouble is not said:
                    said = error.trouble
                    _tell(listener.waiting, str(error))
                stop.wait(pause)
                pause = min(2 * pause, LONGEST_RETRY_SECONDS)
            else:
                if said is not None:
                    _tell(listener.recovered)
                return served
    return None


@dataclass(slots=True, eq=False)
class _Clip:
    """A submitted window on its way."""

    port: CameraPort
    window: ClipWindow
    ticket: int
    submitted_at: float = field(default_factory=time.monotonic)
    sent_at: float = 0.0
    answered_at: float = 0.0
    suspect: bool = False  # a batch that it was in failed: it is sent alone once more
    attention: bool = False  # it was sent with a request for ATTENTION
    refused: bool = False  # by the server; it is sent once more, and without that request


@dataclass(slots=True)
class _Outage:
    """The server is away; one clip at a time tries whether it is back."""

    trouble: Trouble
    began: float
    retry_at: float
    pause: float = FIRST_RETRY_SECONDS
    stub_deaths: int = 0


class CameraPort:
    """Where one camera hands in its clips. Made by :meth:`Scorer.add_camera`."""

    def __init__(
        self, scorer: Scorer, name: str, *, live: bool, capacity: int, deliver: Callable[[Scored | Dropped], None]
    ) -> None:
        self.name = name
        self.live = live
        self.capacity = capacity
        self._scorer = scorer
        self._consumer = deliver
        self._room = threading.Condition(scorer._lock)  # for submitters and drainers
        self._ready = threading.Condition(scorer._lock)  # for the delivering thread
        self._outcomes: deque[tuple[_Clip, Scored | Dropped]] = deque()
        self._held = 0  # submitted and not yet delivered
        self._undelivered = 0  # of these: settled
        self._closed = False
        self._one_at_a_time = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"deliver-{name}", daemon=True)
        self._thread.start()

    def submit(self, window: ClipWindow) -> None:
        """Hand in a clip to be scored; its outcome comes to ``deliver``, on another thread.

        A recording's clip waits here for room in its queue. A live camera's waits only while its consumer has not
        taken ``capacity`` earlier outcomes: hold no lock here that ``deliver`` needs. Closing the camera or the
        scorer ends the wait; the clip is then delivered as dropped (``shutdown``), as is one that comes later.
        """
        scorer = self._scorer
        with scorer._lock:
            self._room.wait_for(self._has_room)
            clip = _Clip(self, window, next(scorer._tickets))
            if not self._closed:
                self._held += 1
                if misfit := scorer._misfit(window):
                    self._settle(clip, Dropped(window, DropReason.ERROR, misfit))
                    return
                scorer._queue.put(self.name, clip)
                scorer._shed(self)
                scorer._wake.notify()
                return
        self._deliver(clip, Dropped(window, DropReason.SHUTDOWN))

    def drain(self, timeout: float | None = None) -> bool:
        """Wait until every submitted clip is delivered; False when ``timeout`` seconds were not enough."""
        with self._scorer._lock:
            return self._room.wait_for(lambda: self._held == 0, timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Take this camera out: what waits is dropped (``shutdown``), what is in flight gets ``timeout`` seconds.

        Frees the camera's name. No other camera notices.
        """
        scorer = self._scorer
        with scorer._lock:
            scorer._retire(self)
            self._room.wait_for(lambda: self._held == 0, timeout)
            for clip in [clip for clip in scorer._flights.values() if clip.port is self]:
                scorer._abandon(clip)
        self._join(1.0)

    def _has_room(self) -> bool:
        if self._closed:
            return True
        return self._undelivered < self.capacity and (self.live or not self._scorer._queue.full(self.name))

    def _settle(self, clip: _Clip, outcome: Scored | Dropped) -> None:
        """A held clip has its outcome. Under the scorer's lock."""
        self._undelivered += 1
        self._outcomes.append((clip, outcome))
        self._ready.notify()

    def _run(self) -> None:
        while True:
            with self._scorer._lock:
                self._ready.wait_for(lambda: self._outcomes or (self._closed and not self._held))
                if not self._outcomes:
                    return
                clip, outcome = self._outcomes.popleft()
            self._deliver(clip, outcome)
            with self._scorer._lock:
                self._held -= 1
                self._undelivered -= 1
                self._room.notify_all()
            del clip, outcome  # not kept alive while waiting for the next

    def _deliver(self, clip: _Clip, outcome: Scored | Dropped) -> None:
        with self._one_at_a_time:
            listener = self._scorer._listener
            match outcome:
                case Scored():
                    waited, served = clip.sent_at - clip.submitted_at, clip.answered_at - clip.sent_at
                    _tell(listener.scored, self.name, waited, served)
                case Dropped(reason=reason):
                    _tell(listener.dropped, self.name, reason)
            _tell(self._consumer, outcome)

    def _join(self, timeout: float) -> None:
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)
            if self._thread.is_alive():
                _log.warning("the consumer of a camera's scores hangs; left behind", camera=self.name)


class Scorer:
    """Scores clips on the Triton server at ``address``, for many cameras. Close it, or use it in a ``with``.

    Args:
        address: HOST:PORT of the server's gRPC endpoint. Nobody needs to be there yet.
        clip: the clips that the cameras hand in.
        model: the model's name on the server.
        max_in_flight: clips sent and not yet answered, over all cameras.
        deadline_seconds: from a clip's sending to its answer. It covers the server's own queue: it should be well
            above ``max_in_flight`` times the service time, and above the 2 s that Triton takes to see that the
            model's process has died.
        listener: hears what happens.
        fits: asked of every model that is to score; raises :class:`ClipMismatch` on one that the site cannot use.
        attention: ask for the model's attention map where it has one.
        repair: load the model anew when its process died again and again. For a server that is ours alone, started
            with ``--model-control-mode=explicit``.

    Raises:
        ValueError: a bound that no scorer can have.
    """

    def __init__(
        self,
        address: str,
        clip: ClipSpec,
        *,
        model: str = "clip_scorer",
        max_in_flight: int = 4,
        deadline_seconds: float = 10.0,
        listener: ScoringListener | None = None,
        fits: Callable[[ServedModel], None] = lambda _served: None,
        attention: bool = False,
        repair: bool = False,
    ) -> None:
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight must be at least 1, got {max_in_flight}")
        if not deadline_seconds > 0:
            raise ValueError(f"deadline_seconds must be above 0, got {deadline_seconds}")
        self.address = address
        self.clip = clip
        self.model = model
        self.max_in_flight = max_in_flight
        self.deadline_seconds = deadline_seconds
        self._listener: ScoringListener = listener or _Silence()
        self._fits = fits
        self._wants_attention = attention
        self._repairs = repair
        self._client = connect(address)  # one for all: each client more costs the server memory and threads

        self._lock = threading.Lock()  # guards all below, and the ports' counters
        self._wake = threading.Condition(self._lock)  # for the dispatcher
        self._landed = threading.Condition(self._lock)  # for close(): nothing is in flight
        self._tickets = count()
        self._ports: dict[str, CameraPort] = {}
        self._queue: FairQueue[str, _Clip] = FairQueue()
        self._flights: dict[int, _Clip] = {}  # by ticket
        self._suspects: set[int] = set()  # tickets
        self._answers: deque[tuple[_Clip, Any, Exception | None]] = deque()
        self._outage: _Outage | None = None
        self._closing = False
        self._stopped = False

        # The dispatcher's own:
        self._served: ServedModel | None = None  # as the answer to the newest question told
        self._served_as_of = float("-inf")  # when that was asked
        self._former: ServedModel | None = None  # what was served before it, for late answers
        self._met: dict[str, ServedModel] = {}  # by version: those that have described themselves since, and fit
        self._inspected = False  # whether what is served now is known to fit
        self._last_success = float("-inf")
        self._unloaded = False  # by a repair that has not loaded it again yet
        self._thread = threading.Thread(target=self._run, name="scorer", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def check(self) -> ServedModel:
        """Ask the server what it serves, and compare it with the clips that the cameras hand in.

        Raises:
            ScorerUnavailable: the server or its model is not there.
            ClipMismatch: the model was trained with other clips (one line with both), or does not fit otherwise.
        """
        served = self.describe()
        self._require(served)
        return served

    def describe(self, version: str = "") -> ServedModel:
        """Ask the server what it serves; see :func:`served_model` to ask before there is a scorer.

        Raises:
            ScorerUnavailable, ClipMismatch: as :func:`served_model`.
        """
        timeout = min(_DESCRIBE_SECONDS, self.deadline_seconds)
        return describe(self._client, self.address, self.model, version=version, timeout_seconds=timeout)

    def _require(self, served: ServedModel) -> None:
        served.require(self.clip)
        self._fits(served)

    def wait_ready(self, stop: threading.Event) -> ServedModel | None:
        """Wait until the model is served, and say so; None when ``stop`` is set first.

        Raises:
            ClipMismatch: the model was trained with other clips.
        """
        served = wait_for_model(self.address, self.model, stop, self._listener)
        if served is not None:
            self._require(served)
        return served

    def add_camera(
        self, name: str, *, live: bool, capacity: int, deliver: Callable[[Scored | Dropped], None]
    ) -> CameraPort:
        """Make room for one more camera.

        Args:
            name: its id.
            live: its oldest waiting clip is dropped when its queue is full; otherwise ``submit`` waits.
            capacity: clips that may wait for it, at least 1.
            deliver: called with each outcome, always from one thread at a time. Outcomes come in the order in which
                they happen, which is not that of the clips where several are in flight.

        Raises:
            ValueError: the name is taken, or the capacity is below 1.
            RuntimeError: the scorer is closed.
        """
        with self._lock:
            if self._closing:
                raise RuntimeError("the scorer is closed")
            self._queue.add(name, capacity)
            port = self._ports[name] = CameraPort(self, name, live=live, capacity=capacity, deliver=deliver)
        return port

    def close(self, timeout: float = 5.0) -> None:
        """Stop: what waits is dropped (``shutdown``), what is in flight gets ``timeout`` seconds for its answer.

        Nothing is waited for while the server is away. Returns when everything is delivered, or a second after the
        timeout when a consumer hangs. Call :meth:`CameraPort.drain` before to have the waiting clips scored, too.
        """
        with self._lock:
            if self._closing:
                return
            self._closing = True
            ports = list(self._ports.values())
            for port in ports:
                self._retire(port)
            self._wake.notify()
            self._landed.wait_for(lambda: not self._flights or self._outage is not None, timeout)
            for clip in list(self._flights.values()):
                self._abandon(clip)
            self._stopped = True
            self._wake.notify()
        self._client.close()  # also ends a call that the dispatcher waits for
        limit = time.monotonic() + 1.0
        for port in ports:
            port._join(max(0.0, limit - time.monotonic()))
        self._thread.join(max(0.0, limit - time.monotonic()))

    # What follows up to the dispatcher runs under the lock.

    def _misfit(self, window: ClipWindow) -> str:
        want = (self.clip.frames, self.clip.height, self.clip.width, 3)
        if window.pixels.shape == want and window.pixels.dtype == np.uint8:
            return ""
        return f"expected a clip of uint8 {want}, got {window.pixels.dtype} {window.pixels.shape}"

    def _shed(self, port: CameraPort) -> None:
        """A live camera keeps its newest clips."""
        if port.live:
            reason = DropReason.OVERLOAD if self._outage is None else DropReason.UNAVAILABLE
            while (oldest := self._queue.overflow(port.name)) is not None:
                self._finish(oldest, Dropped(oldest.window, reason))

    def _finish(self, clip: _Clip, outcome: Scored | Dropped) -> None:
        self._suspects.discard(clip.ticket)
        clip.port._settle(clip, outcome)

    def _requeue(self, clip: _Clip) -> None:
        """Back to its place in its queue, which is in front of what came later."""
        if clip.port._closed:
            self._finish(clip, Dropped(clip.window, DropReason.SHUTDOWN))
            return
        self._queue.put(clip.port.name, clip)
        self._shed(clip.port)

    def _retire(self, port: CameraPort) -> None:
        """Nothing more is accepted for this camera, and nothing more of it sent."""
        if port._closed:
            return
        port._closed = True
        del self._ports[port.name]
        for clip in self._queue.remove(port.name):
            self._finish(clip, Dropped(clip.window, DropReason.SHUTDOWN))
        port._room.notify_all()
        port._ready.notify()

    def _land(self, clip: _Clip) -> bool:
        """Take a clip out of those in flight; False when it is none of them any more."""
        if self._flights.pop(clip.ticket, None) is None:
            return False
        _tell(self._listener.in_flight, len(self._flights))
        if not self._flights:
            self._landed.notify_all()
        return True

    def _abandon(self, clip: _Clip) -> None:
        """Wait no longer for this clip's answer."""
        if self._land(clip):
            self._finish(clip, Dropped(clip.window, DropReason.SHUTDOWN))

    def _slot_free(self) -> bool:
        # One at a time while the server is away, so that it is not met by a burst it cannot serve; and while a clip
        # that failed in a batch is tried again, so that it fails alone.
        limit = 1 if self._outage or self._suspects else self.max_in_flight
        return not self._closing and len(self._queue) > 0 and len(self._flights) < limit

    def _pause_left(self) -> float:
        return 0.0 if self._outage is None else max(0.0, self._outage.retry_at - time.monotonic())

    # The dispatcher.

    def _run(self) -> None:
        while True:
            with self._lock:
                while not (self._answers or self._stopped):
                    if not self._slot_free():
                        self._wake.wait()
                    elif pause := self._pause_left():
                        self._wake.wait(pause)
                    else:
                        break
                if self._stopped:
                    return
                answer = self._answers.popleft() if self._answers else None
            if answer is not None:
                self._conclude(*answer)
            elif self._inspected or self._inspect():
                self._send_next()

    def _send_next(self) -> None:
        with self._lock:
            taken = self._queue.take() if self._slot_free() else None  # it may have been shed or closed meanwhile
            if taken is None:
                return
            _, clip = taken
            self._flights[clip.ticket] = clip
            _tell(self._listener.in_flight, len(self._flights))
            clip.port._room.notify_all()
        clip.sent_at = time.monotonic()
        pixels = clip.window.pixels[np.newaxis]
        has_attention = self._served is not None and self._served.attention is not None
        clip.attention = self._wants_attention and has_attention and not clip.refused
        wanted = ("SCORE", "ATTENTION") if clip.attention else ("SCORE",)
        try:
            tensor = triton.InferInput("CLIP", pixels.shape, "UINT8")
            tensor.set_data_from_numpy(pixels)
            self._client.async_infer(
                self.model,
                [tensor],
                callback=partial(self._answered, clip),
                outputs=[triton.InferRequestedOutput(name) for name in wanted],
                client_timeout=self.deadline_seconds,
            )
        except Exception as error:  # among them a ValueError for a closed channel
            self._answered(clip, None, error)

    def _answered(self, clip: _Clip, result: Any, error: Exception | None) -> None:
        """gRPC's callback, on a thread that serves every call: it leaves the work to the dispatcher."""
        clip.answered_at = time.monotonic()
        with self._lock:
            self._answers.append((clip, result, error))
            self._wake.notify()

    def _conclude(self, clip: _Clip, result: Any, error: Exception | None) -> None:
        outcome: Scored | Dropped | None = None
        if error is None:
            outcome = self._read(clip, result)
        else:
            outcome = self._bear(clip, *diagnose(error, self.address, self.model))
        if isinstance(outcome, Dropped) and outcome.detail:
            _log.warning("clip dropped", camera=clip.port.name, clip=clip.window.index, why=outcome.detail)
        with self._lock:
            if not self._land(clip):
                return
            if outcome is None:
                self._requeue(clip)
            else:
                self._finish(clip, outcome)

    def _read(self, clip: _Clip, result: Any) -> Scored | Dropped | None:
        """The answer to a clip; None: of a model that may not score, and the clip is sent again."""
        self._last_success = time.monotonic()
        attention: npt.NDArray[np.float32] | None = None
        try:
            version: str = result.get_response().model_version
            score = float(result.as_numpy("SCORE").item())
            if clip.attention:
                attention = np.array(result.as_numpy("ATTENTION")[0])  # a copy: the answer's memory holds all of it
        except Exception as error:
            return Dropped(clip.window, DropReason.ERROR, f"Triton's answer holds no single SCORE ({error})")
        served = self._known(version, clip.sent_at) or self._meet(version, clip.sent_at)
        if served is None:
            return None
        with self._lock:
            recovered, self._outage = self._outage is not None, None
        if recovered:
            _tell(self._listener.recovered)
        self._serving(served, as_of=clip.sent_at)
        if not 0.0 <= score <= 1.0:  # NaN, too
            return Dropped(clip.window, DropReason.ERROR, f"Triton's SCORE must lie in [0, 1], got {score}")
        return Scored(clip.window, score, served, datetime.now(UTC), attention)

    def _bear(self, clip: _Clip, trouble: Trouble, line: str) -> Dropped | None:
        """What becomes of a clip whose call failed; None: it is sent again."""
        match trouble:
            case Trouble.REFUSED:
                self._inspected = False  # perhaps another model stands there now: without ATTENTION, or of other clips
                if clip.refused:
                    return Dropped(clip.window, DropReason.ERROR, line)
                clip.refused = True
                return None
            case Trouble.FAILED:
                if clip.suspect:
                    return Dropped(clip.window, DropReason.ERROR, line)
                clip.suspect = True
                with self._lock:
                    if clip.ticket in self._flights:
                        self._suspects.add(clip.ticket)
                return None
            case Trouble.SILENT:
                if self._last_success < clip.sent_at:  # nobody else had an answer in all that time
                    self._pause(trouble, line, sent_at=clip.sent_at)
                return Dropped(clip.window, DropReason.DEADLINE) if clip.port.live else None
            case _:
                self._pause(trouble, line, sent_at=clip.sent_at)
                return None

    def _pause(self, trouble: Trouble, line: str, sent_at: float) -> None:
        """The server is away: say so once, and retry after a pause that grows with every retry that fails."""
        now = time.monotonic()
        self._inspected = False
        with self._lock:
            known = self._outage
            if known is None:
                outage = self._outage = _Outage(trouble, began=now, retry_at=now + FIRST_RETRY_SECONDS)
            else:
                outage = known
                if sent_at > outage.began:  # otherwise sent together with the one that failed first: no retry
                    outage.pause = min(2 * outage.pause, LONGEST_RETRY_SECONDS)
                    outage.retry_at = now + outage.pause
            news = known is None or outage.trouble is not trouble
            outage.trouble = trouble
            if trouble is Trouble.STUB_DIED:
                outage.stub_deaths += 1
            self._landed.notify_all()
        if news:
            _tell(self._listener.waiting, line)

    def _inspect(self) -> bool:
        """Before the first clip and after an outage: is the model there, and does it take our clips?"""
        asked_at = time.monotonic()
        if not self._repair():
            return False
        try:
            served = self.check()
        except ScorerUnavailable as error:
            self._pause(error.trouble, str(error), sent_at=asked_at)
            return False
        except ClipMismatch as error:
            self._pause(Trouble.MISMATCH, str(error), sent_at=asked_at)
            return False
        self._met = {served.version: served}  # whatever was there before may be gone, and its number used again
        self._serving(served, as_of=asked_at)
        self._inspected = True
        return True

    def _known(self, version: str, sent_at: float) -> ServedModel | None:
        """What this version has said of itself, if it has."""
        former = self._former
        if version not in self._met and former is not None and former.version == version:
            return former if sent_at < self._served_as_of else None  # sent later: it may be another of that number
        return self._met.get(version)

    def _meet(self, version: str, sent_at: float) -> ServedModel | None:
        """The description of a version that has answered for the first time; None where it may not score."""
        try:
            served = self.describe(version)
            self._require(served)
        except ScorerUnavailable as error:
            self._inspected = False
            if error.trouble is not Trouble.NOT_READY:  # else it has answered, and is gone already
                self._pause(error.trouble, str(error), sent_at=sent_at)
            return None
        except ClipMismatch as error:
            self._pause(Trouble.MISMATCH, str(error), sent_at=sent_at)
            return None
        self._met[version] = served
        return served

    def _serving(self, served: ServedModel, as_of: float) -> None:
        """Note what served a question of this time, and say so when it is another model than before."""
        if as_of < self._served_as_of:
            return  # a late answer of the version before, while two change places
        self._served_as_of = as_of
        before, self._served = self._served, served
        if before is not None and before != served:
            self._former, self._met = before, {served.version: served}
            _tell(self._listener.exchanged, served)

    def _repair(self) -> bool:
        """Load the model anew where its process died and we may; False when that did not work."""
        outage = self._outage
        dying = outage is not None and outage.stub_deaths >= REPAIR_AFTER_FAILURES
        if not (self._repairs and (dying or self._unloaded)):
            return True
        asked_at = time.monotonic()
        try:
            # Loading alone does nothing: to Triton the model is still there.
            self._client.unload_model(self.model, client_timeout=_UNLOAD_SECONDS)
            self._unloaded = True
            self._client.load_model(self.model, client_timeout=LOAD_SECONDS)
        except Exception as error:
            trouble, line = diagnose(error, self.address, self.model)
            _log.error("the model's process has died, and the model cannot be loaded anew", why=line)
            if self._unloaded:
                self._pause(trouble, line, sent_at=asked_at)
                return False
            # Perhaps this server does not let us: go on probing, somebody may restart it.
        else:
            self._unloaded = False
            _log.warning("the model's process had died; the model was loaded anew", model=self.model)
        if outage is not None:
            outage.stub_deaths = 0
        return True
