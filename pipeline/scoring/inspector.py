"""The questions that a scorer asks about its served models: before the first clip, after outages, of new versions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

from pipeline import logs
from pipeline.scoring.outage import News, Outages, Repair
from pipeline.scoring.outcomes import ScoringListener, notify
from pipeline.scoring.served_model import ClipMismatch, ScorerUnavailable, ServedModel, Trouble
from pipeline.scoring.target import Target
from pipeline.scoring.transport import Transport
from pipeline.scoring.versions import Versions

_log = logs.get("scoring")


class Inspector:
    """Finds out whether the models may score, and pauses or repairs those that may not.

    Args:
        lock: guards ``outages``.
        handle_later: has a function called on the thread that calls this object.
    """

    def __init__(
        self,
        transport: Transport,
        versions: Mapping[Target, Versions],
        outages: Outages,
        *,
        lock: threading.RLock,
        timeout_seconds: float,
        listener: ScoringListener,
        handle_later: Callable[[Callable[[], None]], None],
    ) -> None:
        self._transport = transport
        self._versions = versions
        self._outages = outages
        self._lock = lock
        self._timeout_seconds = timeout_seconds
        self._listener = listener
        self._handle_later = handle_later

    def inspect(self, target: Target) -> None:
        """Check, before the first clip and after an outage, that a model or part is there and takes our clips."""
        asked_at = time.monotonic()
        if self._outages.repair_of(target).is_due:
            self._begin_repair(target)
            return
        versions = self._versions[target]
        try:
            served = self._describe(target)
            versions.require(served)
        except ScorerUnavailable as error:
            self.pause(target, error.trouble, str(error), sent_at=asked_at)
        except ClipMismatch as error:
            self.pause(target, Trouble.MISMATCH, str(error), sent_at=asked_at)
        else:
            if versions.inspect(served, asked_at=asked_at):
                notify(self._listener.exchanged, served)

    def describe_version(self, target: Target, version: str, *, sent_at: float) -> ServedModel | None:
        """Return the description of a version that has answered for the first time; None where it may not score.

        Args:
            sent_at: when the clip that it has answered was sent.
        """
        versions = self._versions[target]
        try:
            served = self._describe(target, version)
            versions.require(served)
        except ScorerUnavailable as error:
            versions.inspected = False
            if error.trouble is not Trouble.NOT_READY:  # otherwise it has answered, and is gone already
                self.pause(target, error.trouble, str(error), sent_at=sent_at)
            return None
        except ClipMismatch as error:
            self.pause(target, Trouble.MISMATCH, str(error), sent_at=sent_at)
            return None
        versions.describe(served)
        return served

    def pause(self, target: Target, trouble: Trouble, line: str, *, backbone: str = "", sent_at: float) -> None:
        """Hold up the clips of the server, the model or its part, according to the trouble, and report it once.

        Args:
            backbone: the shared backbone whose process has died; empty where it was the model's own.
            sent_at: when the call that failed was sent.
        """
        with self._lock:
            news = self._outages.failed(target, trouble, line, backbone=backbone, sent_at=sent_at, now=time.monotonic())
            for other, versions in self._versions.items():
                if self._outages.away(other) and (self._outages.server_away or other.model == target.model):
                    versions.inspected = False
        self.report(news, target, line)

    def report(self, news: News, target: Target, line: str = "") -> None:
        """Notify the listener of the news of ``target``."""
        if news.recovered:
            notify(self._listener.recovered)
        if news.waiting:
            notify(self._listener.waiting, line)
        if news.part_waiting:
            notify(self._listener.part_waiting, target, line)
        if news.part_there:
            notify(self._listener.part_there, target)

    def _describe(self, target: Target, version: str = "") -> ServedModel:
        return self._transport.describe(target, version=version, timeout_seconds=self._timeout_seconds)

    def _begin_repair(self, target: Target) -> None:
        """Unload and load the model that is to be repaired, on a thread of its own: it can take minutes."""
        with self._lock:
            repair = self._outages.repair_of(target)
            repair.begin()
        threading.Thread(target=self._repair, args=(target, repair), name=f"repair-{repair.model}", daemon=True).start()

    def _repair(self, target: Target, repair: Repair) -> None:
        asked_at = time.monotonic()
        unloaded, problem = False, None
        try:
            self._transport.unload(repair.model)  # loading alone does nothing: to Triton the model is still there
            unloaded = True
            self._transport.load(repair.model)
        except ScorerUnavailable as error:
            problem = error
        self._handle_later(partial(self._end_repair, target, repair, unloaded, problem, asked_at))

    def _end_repair(
        self, target: Target, repair: Repair, unloaded: bool, problem: ScorerUnavailable | None, asked_at: float
    ) -> None:
        model = repair.model
        with self._lock:
            away = repair.end(unloaded=unloaded, loaded=problem is None)
        if problem is None:
            _log.warning("the model's process had died; the model was loaded anew", model=model)
            return
        _log.error("the model's process has died, and the model cannot be loaded anew", model=model, why=str(problem))
        if away:
            self.pause(target, problem.trouble, str(problem), sent_at=asked_at)
