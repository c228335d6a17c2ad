"""The thread that sends clips to the server and settles its answers; see :mod:`pipeline.scoring.scorer`.

It wires three classes without I/O: :class:`~pipeline.scoring.traffic.Traffic` (the clip that goes next),
:class:`~pipeline.scoring.outage.Outages` (when to try again) and :class:`~pipeline.scoring.versions.Versions` (the
answers that count). The questions about a model itself are :class:`~pipeline.scoring.inspector.Inspector`'s. One lock
guards the lanes and the clips in flight.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial

from pipeline.scoring.inspector import Inspector
from pipeline.scoring.loss_log import LossLog
from pipeline.scoring.outage import Outages, State
from pipeline.scoring.outcomes import Dropped, DropReason, Scored, ScoringListener, notify
from pipeline.scoring.renewing import RenewingTransport
from pipeline.scoring.served_model import Trouble
from pipeline.scoring.target import Target
from pipeline.scoring.traffic import Clip, Lane, Outcome, Traffic
from pipeline.scoring.transport import DESCRIBE_SECONDS, Answer, Failure
from pipeline.scoring.versions import Versions
from pipeline.windows import ClipWindow


class Dispatcher:
    """Sends the clips of many lanes to the models of one server.

    Attributes:
        lock: guards the lanes. Every method takes it; a caller that waits for a lane to change may hold it.
    """

    def __init__(
        self,
        transport: RenewingTransport,
        versions: Mapping[Target, Versions],
        *,
        max_in_flight: int,
        deadline_seconds: float,
        listener: ScoringListener,
        repair: bool,
    ) -> None:
        self.lock = threading.RLock()
        self._transport = transport
        self._versions = versions
        self._losses = LossLog()
        self._deadline_seconds = deadline_seconds
        self._listener = listener
        self._traffic = Traffic(max_in_flight)
        self._outages = Outages(versions, repair=repair)
        self._events: deque[Callable[[], None]] = deque()  # for the thread to handle
        self._wake = threading.Condition(self.lock)  # for the thread
        self._settled = threading.Condition(self.lock)  # for close(): fewer clips are in flight, or will be answered
        self._inspector = Inspector(
            transport,
            versions,
            self._outages,
            lock=self.lock,
            timeout_seconds=min(DESCRIBE_SECONDS, deadline_seconds),
            listener=listener,
            handle_later=self._handle_later,
        )
        self._closing = False
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="scorer", daemon=True)
        self._thread.start()

    # -- called from outside -----------------------------------------------------------------------------------

    @property
    def has_died(self) -> bool:
        """Return whether its thread has ended although it was not closed."""
        return not (self._thread.is_alive() or self._closing)

    def add(self, target: Target) -> None:
        """Accept lanes of one more model or part, which ``versions`` has."""
        with self.lock:
            self._outages.add(target)

    def open(self, lane: Lane) -> None:
        """Accept clips of a lane. Raises ValueError (its name or capacity) or RuntimeError (closed)."""
        with self.lock:
            if self._closing:
                raise RuntimeError("the scorer is closed")
            self._traffic.open(lane)

    def has_room(self, lane: Lane) -> bool:
        """Return whether :meth:`submit` may be called; true for a closed lane."""
        with self.lock:
            return self._traffic.has_room(lane)

    def submit(self, lane: Lane, window: ClipWindow) -> bool:
        """Take a window to be scored; return False when the lane is closed."""
        with self.lock:
            if lane.closed:
                return False
            misfit = self._versions[lane.target].misfit(window)
            self._traffic.submit(lane, window, misfit=misfit, away=self._is_away(lane.target))
            self._wake.notify()
        return True

    def retire(self, lane: Lane) -> None:
        """Accept and send nothing more of a lane, and drop its waiting clips."""
        with self.lock:
            self._traffic.retire(lane)

    def abandon(self, lane: Lane) -> None:
        """Wait no longer for the answers to a lane's clips: drop them."""
        with self.lock:
            for clip in self._traffic.in_flight:
                if clip.lane is lane:
                    self._traffic.abandon(clip)
            self._report_in_flight()
            self._settled.notify_all()
            self._wake.notify()
        self._losses.end(str(lane))

    def close(self, timeout: float) -> None:
        """Retire every lane, give clips in flight ``timeout`` seconds (none during an outage), and end."""
        with self.lock:
            if self._closing:
                return
            self._closing = True
            lanes = self._traffic.lanes
            for lane in lanes:
                self._traffic.retire(lane)
            self._settled.wait_for(self._nothing_will_be_answered, timeout)
            for clip in self._traffic.in_flight:
                self._traffic.abandon(clip)
            self._report_in_flight()
            self._stopped = True
            self._wake.notify()
        for lane in lanes:
            self._losses.end(str(lane))
        self._transport.close()  # also ends a call that the thread waits for

    def join(self, timeout: float) -> None:
        """Wait until the thread has ended, for at most ``timeout`` seconds."""
        self._thread.join(timeout)

    def _is_away(self, target: Target) -> bool:
        """Return whether a clip that is shed now is shed because the model is away, and not because it is slow."""
        return self._outages.away(target) or self._transport.is_silent

    def _nothing_will_be_answered(self) -> bool:
        return all(self._outages.away(clip.lane.target) for clip in self._traffic.in_flight)

    # -- the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (step := self._next_step()) is not None:
            step()
            with self.lock:
                self._settled.notify_all()
            del step  # it holds a clip, which must not be kept alive while waiting for the next

    def _next_step(self) -> Callable[[], None] | None:
        """Wait for the next thing to do; None at the end."""
        with self.lock:
            while not self._stopped:
                if self._events:
                    return self._events.popleft()
                now = time.monotonic()
                lane = self._traffic.next_lane(partial(self._limit, now=now))
                if lane is None:
                    pauses = [self._outages.pause_left(target, now) for target in self._traffic.waiting_targets]
                    self._wake.wait(min(filter(None, pauses), default=None))
                elif not self._versions[lane.target].inspected:
                    return partial(self._inspector.inspect, lane.target)
                else:
                    clip = self._traffic.send(lane, now=now)
                    self._report_in_flight()
                    return partial(self._send, clip)
        return None

    def _limit(self, target: Target, *, now: float) -> int:
        """Return the number of clips that may be in flight to a part, or to a model with all its parts."""
        match self._outages.state(target, now):
            case State.UP:
                return self._traffic.max_in_flight
            case State.PROBING:  # a server that comes back is not met by a burst that it cannot serve
                return 0 if self._outages.server_away and self._traffic.in_flight else 1
            case State.PAUSED | State.REPAIRING:
                return 0

    def _handle_later(self, event: Callable[[], None]) -> None:
        with self.lock:
            self._events.append(event)
            self._wake.notify()

    def _report_in_flight(self) -> None:
        notify(self._listener.in_flight, len(self._traffic.in_flight))

    # -- a clip and its answer ---------------------------------------------------------------------------------

    def _send(self, clip: Clip) -> None:
        versions = self._versions[clip.lane.target]
        clip.asked_heat = versions.asks_heat and not clip.refused
        # A refused clip, too, is sent with its scene where the model, asked anew, reads one: its score is the same.
        scene = versions.scene_of(clip.window)
        clip.sent_scene = scene is not None
        self._transport.infer(
            clip.lane.target,
            versions.pixels_of(clip.window),
            scene=scene,
            mask=versions.mask_of(clip.window),
            heat=clip.asked_heat,
            features=versions.asks_features and not clip.refused,
            timeout_seconds=self._deadline_seconds,
            on_answer=lambda answer: self._handle_later(partial(self._conclude, clip, answer)),
        )

    def _conclude(self, clip: Clip, answer: Answer | Failure) -> None:
        """Settle a clip: it has its outcome, or is sent again."""
        match answer:
            case Answer():
                outcome = self._handle_answer(clip, answer)
            case Failure():
                outcome = self._handle_failure(clip, answer)
        if isinstance(outcome, Dropped) and outcome.detail:
            self._losses.add(str(clip.lane), clip.window.index, outcome.detail)
        was_cut_off = isinstance(answer, Failure) and answer.trouble is Trouble.CUT_OFF
        with self.lock:
            if self._traffic.settle(clip, outcome, away=was_cut_off or self._is_away(clip.lane.target)):
                self._report_in_flight()

    def _handle_answer(self, clip: Clip, answer: Answer) -> Outcome | None:
        """Return the outcome of an answered clip; None where it is sent again.

        That is where the version may not score, or reads another kind of scene than the clip was sent with.
        """
        target = clip.lane.target
        versions = self._versions[target]
        self._outages.answered(target, time.monotonic())
        served = versions.find(answer.version, sent_at=clip.sent_at)
        if served is None:
            served = self._inspector.describe_version(target, answer.version, sent_at=clip.sent_at)
        if served is None:
            return None
        with self.lock:
            news = self._outages.scored(target, sent_at=clip.sent_at)
        self._inspector.report(news, target)
        if versions.scored_by(served, sent_at=clip.sent_at):
            notify(self._listener.exchanged, served)
        if clip.sent_scene and served.scene is not clip.window.scene_kind:  # the version was exchanged meanwhile
            return None
        if not 0.0 <= answer.score <= 1.0:  # NaN, too
            return Dropped(clip.window, DropReason.ERROR, f"Triton's SCORE must lie in [0, 1], got {answer.score}")
        return Scored(
            clip.window,
            answer.score,
            served,
            datetime.now(UTC),
            answer.heat,
            answer.features,
            sent_monotonic=clip.sent_at,
        )

    def _handle_failure(self, clip: Clip, failure: Failure) -> Dropped | None:
        """Return the outcome of a clip whose call failed; None when it is sent again."""
        target = clip.lane.target
        match failure.trouble:
            case Trouble.UNREADABLE:
                self._outages.answered(target, time.monotonic())
                return Dropped(clip.window, DropReason.ERROR, failure.line)
            case Trouble.REFUSED:
                # Perhaps another model stands there now: one without HEAT, FEATURES, SCENE or MASK, or for other clips.
                self._versions[target].inspected = False
                if clip.refused:
                    return Dropped(clip.window, DropReason.ERROR, failure.line)
                clip.refused = True
                return None
            case Trouble.CUT_OFF:
                for versions in list(
                    self._versions.values()
                ):  # another server may stand at the end of the new connection
                    versions.inspected = False
                return None
            case Trouble.FAILED:
                if clip.suspect:
                    return Dropped(clip.window, DropReason.ERROR, failure.line)
                with self.lock:
                    self._traffic.suspect(clip)
                return None
            case Trouble.SILENT:
                if self._outages.silent_since(target, clip.sent_at):
                    self._inspector.pause(target, failure.trouble, failure.line, sent_at=clip.sent_at)
                return Dropped(clip.window, DropReason.DEADLINE) if clip.lane.live else None
            case _:
                self._inspector.pause(
                    target, failure.trouble, failure.line, backbone=failure.backbone, sent_at=clip.sent_at
                )
                return None
