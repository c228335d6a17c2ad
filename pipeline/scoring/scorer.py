"""Clips to scores: the asynchronous client of a Triton server, bounded, fair between cameras, patient with outages.

One thread sends clips to the models of the server and settles its answers
(:class:`~pipeline.scoring.dispatcher.Dispatcher`). One more thread for each port delivers its outcomes, so that a slow
or failing consumer holds up its own camera and detector alone.

**Outcomes.** Every submitted window is delivered exactly once, as :class:`Scored` or :class:`Dropped`:

=================================  ===============================  ===============================
event                              live camera                      recording
=================================  ===============================  ===============================
its queue is full                  the oldest waiting is dropped    ``submit`` waits
the server or its model is away    back in front of its queue       back in front of its queue
its connection had died            back in front of its queue       back in front of its queue
no answer within the deadline      dropped                          sent again
the server refuses this very clip  sent again; then dropped         sent again; then dropped
the model raises on it             sent again, alone; then dropped  sent again, alone; then dropped
=================================  ===============================  ===============================

**Fairness.** Cameras have their turns one after the other, and within a camera its detectors. A camera with many
detectors has no more turns than a camera with one.

**Outages.** A model that is missing, silent or unfit holds up its own clips alone; a server that cannot be reached
holds up all. One clip at a time then tries whether the outage is over. A connection that has died without a sign is
replaced (:mod:`pipeline.scoring.renewing`).

**Versions.** Clips are sent to the version of the model that the server serves, and an answer names the version that
gave it. A version that answers for the first time is asked to describe itself: where it takes other clips, or the site
cannot judge its scores, its answer is not used and the clip waits as in an outage until an operator acts. The same
holds for a clip that is refused: the model is asked to describe itself before the clip is sent again, and where it
takes other clips by now, this one waits. So the server may exchange the model at any time without losing a clip. A clip
is sent with its standing scene where the version that scores now reads that kind of scene, and with its mask where that
version takes one of that size; else the pixels of what is ignored are replaced first.

**Parts.** Where a model hosts the parts of many cameras, each part has its own description, versions and outages: a
clip names the part of its camera, and an answer names the version of the model and that of the part, ``1.3``. A part
that is missing, damaged or unfit holds up the clips of its camera alone.

**Memory.** Consumers that keep up: ``capacity`` clips a port and ``max_in_flight`` over all. A port whose consumer
hangs: at most ``2 × capacity + max_in_flight`` of its own. A clip is ``clip.nbytes`` (2.4 MB for 16 × 224 × 224) and
the native picture of its middle frame; gRPC holds up to three copies of the pixels of each clip in flight, shared
memory one (:mod:`pipeline.scoring.shared_memory`). Where the
model reads a scene, a clip has H · W · 3 bytes more (0.15 MB for 224 × 224), which clips share while it is the same.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

from pipeline import logs
from pipeline.scoring.dispatcher import Dispatcher
from pipeline.scoring.outage import Outage
from pipeline.scoring.outcomes import Dropped, DropReason, Scored, ScoringListener, notify
from pipeline.scoring.renewing import RenewingTransport
from pipeline.scoring.served_model import ScorerUnavailable, ServedModel
from pipeline.scoring.target import Target
from pipeline.scoring.traffic import Lane
from pipeline.scoring.transport import DESCRIBE_SECONDS, Transport, TritonTransport
from pipeline.scoring.versions import Versions
from pipeline.windows import ClipSpec, ClipWindow

_log = logs.get("scoring")


@dataclass(frozen=True, slots=True)
class ScoredModel:
    """A model on the server, or one of its parts, that a scorer sends clips to.

    Attributes:
        clip: the clips handed in for it; frames, height, width, fit and fps must be the model's.
        fits: called with every version that is to score; raises :class:`ClipMismatch` on one that cannot be used.
        heat, features: ask for HEAT, FEATURES where the model has it.
        part: of a model that hosts the parts of cameras; empty for one without parts.
    """

    name: str
    clip: ClipSpec
    fits: Callable[[ServedModel], None] = lambda _served: None
    heat: bool = False
    features: bool = False
    part: str = ""

    @property
    def target(self) -> Target:
        """Return the model or part."""
        return Target(self.name, self.part)


class CameraPort:
    """The place where the clips of one camera for one of its detectors are handed in. Made by `Scorer.add_camera`."""

    def __init__(self, dispatcher: Dispatcher, lane: Lane, deliver: Callable[[Scored | Dropped], None]) -> None:
        self._dispatcher = dispatcher
        self._lane = lane
        self._consumer = deliver
        self._changed = threading.Condition(dispatcher.lock)
        lane.changed = self._changed.notify_all
        self._one_at_a_time = threading.Lock()
        dispatcher.open(lane)
        self._thread = threading.Thread(target=self._run, name=f"deliver-{lane}", daemon=True)
        self._thread.start()

    @property
    def camera(self) -> str:
        """The camera's id."""
        return self._lane.camera

    @property
    def detector(self) -> str:
        """The detector's name; empty where the camera has a single one."""
        return self._lane.detector

    @property
    def is_over(self) -> bool:
        """Return whether the port is closed and everything is delivered."""
        with self._changed:
            return self._lane.is_over

    def submit(self, window: ClipWindow) -> None:
        """Hand in a clip to be scored; its outcome is passed to ``deliver``, on another thread.

        A recording's clip waits here for room in its queue. A live camera's waits only while its consumer has not
        taken ``capacity`` earlier outcomes: hold no lock here that ``deliver`` needs. Closing the port or the scorer
        ends the wait; the clip is then delivered as dropped (``shutdown``), as is one that comes later.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._dispatcher.has_room(self._lane))
            if self._dispatcher.submit(self._lane, window):
                return
        self._deliver(Dropped(window, DropReason.SHUTDOWN))

    def drain(self, timeout: float | None = None) -> bool:
        """Wait until every submitted clip is delivered; False when ``timeout`` seconds were not enough."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._lane.held, timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Drop the waiting clips (``shutdown``), and give those in flight ``timeout`` seconds for their answers.

        Frees the name. Other cameras and detectors are not affected.
        """
        with self._changed:
            self._dispatcher.retire(self._lane)
            self._changed.wait_for(lambda: not self._lane.held, timeout)
            self._dispatcher.abandon(self._lane)
        self.join(1.0)

    def join(self, timeout: float) -> None:
        """Wait until the last outcome is delivered, for at most ``timeout`` seconds; a consumer may hang."""
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)
            if self._thread.is_alive():
                _log.warning("the consumer of a camera's scores hangs; left behind", camera=str(self._lane))

    def _run(self) -> None:
        lane = self._lane
        while True:
            with self._changed:
                self._changed.wait_for(lambda: lane.has_outcome or lane.is_over)
                if not lane.has_outcome:
                    return
                outcome = lane.next_outcome()
            self._deliver(outcome)
            with self._changed:
                lane.delivered()
            del outcome  # not kept alive while waiting for the next

    def _deliver(self, outcome: Scored | Dropped) -> None:
        with self._one_at_a_time:
            notify(self._consumer, outcome)


class Scorer:
    """Scores clips on the models of a Triton server, for many cameras. Close it, or use it in a ``with``.

    Args:
        address: HOST:PORT of the server's gRPC endpoint. The server need not run yet.
        models: the models that clips are sent to, at least one.
        max_in_flight: clips sent and not yet answered, over all cameras and models.
        deadline_seconds: from a clip's sending to its answer. It covers the server's own queue: it should be well
            above ``max_in_flight`` times the service time, and above the 2 s that Triton takes to see that the
            model's process has died.
        repair: load a model anew when its process died again and again. For a server that is ours alone, started
            with ``--model-control-mode=explicit``.
        connect: makes the calls to the server, over a connection of its own; by default gRPC to ``address``,
            and shared memory where the server runs on this machine. Called
            again whenever a connection has died without a sign.

    Raises:
        ValueError: a bound that no scorer can have, or a model named twice.
    """

    def __init__(
        self,
        address: str,
        models: Sequence[ScoredModel],
        *,
        max_in_flight: int = 4,
        deadline_seconds: float = 10.0,
        listener: ScoringListener | None = None,
        repair: bool = False,
        connect: Callable[[], Transport] | None = None,
    ) -> None:
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight must be at least 1, got {max_in_flight}")
        if not deadline_seconds > 0:
            raise ValueError(f"deadline_seconds must be above 0, got {deadline_seconds}")
        targets = [model.target for model in models]
        if len(set(targets)) < len(targets):
            raise ValueError(f"models must be named once each, got {[*map(str, targets)]}")
        self.address = address
        self.max_in_flight = max_in_flight
        self.deadline_seconds = deadline_seconds
        self._models: dict[Target, Versions] = {
            model.target: Versions(model.clip, model.fits, heat=model.heat, features=model.features) for model in models
        }
        self._listener = listener or ScoringListener()
        self._transport = renewing_transport(
            address, self._listener, connect or partial(TritonTransport, address, shared_clips=max_in_flight)
        )
        self._ports: list[CameraPort] = []
        self._dispatcher = Dispatcher(
            self._transport,
            self._models,
            max_in_flight=max_in_flight,
            deadline_seconds=deadline_seconds,
            listener=self._listener,
            repair=repair,
        )

    @property
    def has_died(self) -> bool:
        """Return whether its thread has ended although it was not closed."""
        return self._dispatcher.has_died

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def check(self, model: str | None = None, part: str = "") -> ServedModel:
        """Ask the server for the description of a model, and compare it with the clips that the cameras hand in.

        Args:
            model: its name on the server; None for the only one.
            part: of a model that hosts the parts of cameras.

        Raises:
            ScorerUnavailable: the server or its model is not there.
            ClipMismatch: the model was trained with other clips (one line with both), or does not fit otherwise.
            ValueError: the scorer does not send clips to such a model.
        """
        target = self._target_of(model, part)
        served = self.describe(model, part)
        self._models[target].require(served)
        return served

    def describe(self, model: str | None = None, part: str = "", *, version: str = "") -> ServedModel:
        """Ask the server for the description of a model; use :func:`served_model` to ask before there is a scorer.

        Raises:
            ScorerUnavailable, ClipMismatch: as :func:`served_model`.
            ValueError: as :meth:`check`.
        """
        timeout = min(DESCRIBE_SECONDS, self.deadline_seconds)
        return self._transport.describe(self._target_of(model, part), version=version, timeout_seconds=timeout)

    def add_model(self, model: ScoredModel) -> None:
        """Send clips to one more model, or to one more part of a model.

        Raises:
            ValueError: the scorer sends clips to it already.
        """
        with self._dispatcher.lock:
            if model.target in self._models:
                raise ValueError(f"{model.target}: added twice")
            self._models[model.target] = Versions(model.clip, model.fits, heat=model.heat, features=model.features)
            self._dispatcher.add(model.target)

    def add_camera(
        self,
        camera: str,
        *,
        model: str | None = None,
        part: str = "",
        detector: str = "",
        live: bool,
        capacity: int,
        deliver: Callable[[Scored | Dropped], None],
    ) -> CameraPort:
        """Open a port for one more camera, or for one more detector of a camera.

        Args:
            camera: its id. Fairness holds between cameras, whatever the number of their detectors.
            model: the served model that scores its clips; None for the only one.
            part: of a model that hosts the parts of cameras.
            detector: the detector's name; empty where the camera has a single one.
            live: its oldest waiting clip is dropped when its queue is full; otherwise ``submit`` waits.
            capacity: clips that may wait in this port, at least 1.
            deliver: called with each outcome, always from one thread at a time. Outcomes come in the order in which
                they happen, which is not that of the clips where several are in flight.

        Raises:
            ValueError: the camera has a port for that detector, the capacity is below 1, or the model is unknown.
            RuntimeError: the scorer is closed.
        """
        lane = Lane(camera, detector, self._target_of(model, part), live, capacity)
        port = CameraPort(self._dispatcher, lane, deliver)
        with self._dispatcher.lock:
            self._ports = [*(each for each in self._ports if not each.is_over), port]
        return port

    def close(self, timeout: float = 5.0) -> None:
        """Stop: drop waiting clips (``shutdown``), and give those in flight ``timeout`` seconds for their answers.

        Clips of a model that is away are not waited for. Returns when everything is delivered, or a second after the
        timeout when a consumer hangs. Call :meth:`CameraPort.drain` before to have the waiting clips scored, too.
        """
        self._dispatcher.close(timeout)
        limit = time.monotonic() + 1.0
        for port in self._ports:
            port.join(max(0.0, limit - time.monotonic()))
        self._dispatcher.join(max(0.0, limit - time.monotonic()))

    def _target_of(self, model: str | None, part: str) -> Target:
        targets = list(self._models)
        if model is None and len(targets) == 1:
            return targets[0]
        target = Target(model or "", part)
        if target not in self._models:
            raise ValueError(f"model must be one of {', '.join(map(str, targets))}, got {target if model else model}")
        return target


def renewing_transport(
    address: str, listener: ScoringListener, connect: Callable[[], Transport] | None = None
) -> RenewingTransport:
    """Return the calls to the server at ``address``; a replaced connection is reported to ``listener``."""
    line = (
        f"the connection to Triton at {address} had died without a sign (it is not answered, and a new one is): "
        "replaced; clips that were under way are sent again"
    )
    return RenewingTransport(
        connect or partial(TritonTransport, address), on_renewed=lambda: notify(listener.reconnected, line)
    )


def wait_for_model(
    address: str, model: str, stop: threading.Event, listener: ScoringListener | None = None, *, part: str = ""
) -> ServedModel | None:
    """Wait, without limit, until the server at ``address`` serves ``model``; None when ``stop`` is set first.

    Args:
        part: of a model that hosts the parts of cameras; empty waits for the model as a whole.

    Raises:
        ClipMismatch: the model does not say which clips it was trained with.
    """
    listener = listener or ScoringListener()
    outage = Outage()
    with contextlib.closing(renewing_transport(address, listener)) as transport:
        while not stop.is_set():
            asked_at = time.monotonic()
            try:
                served = transport.describe(Target(model, part), timeout_seconds=DESCRIBE_SECONDS)
            except ScorerUnavailable as error:
                if outage.fail(error.trouble, sent_at=asked_at, now=time.monotonic()):
                    notify(listener.waiting, str(error))
                stop.wait(outage.pause_left(time.monotonic()))
            else:
                if outage.is_open:
                    notify(listener.recovered)
                return served
    return None
