"""The drift of one camera and detector, and the log lines and events that report it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from operators.drift import MODEL_CHANGED, DriftMachine, DriftSeen, DriftTransition
from operators.scores import ClipScore
from pipeline import logs
from pipeline.alerts.drift import DriftEvent, drift_event
from pipeline.live.listener import Watch
from pipeline.scoring.served_model import ServedModel

_log = logs.get("drift")

#: Reason of the end of a drift whose camera is not watched any more: a recording's end, or a stop.
CLOSED = "closed"


class DriftWatch:
    """Follows the scores of one camera and detector. Scores of models that are not rarities are left out.

    :meth:`take` collects events, and :meth:`pop` returns them, so that they are accepted after the alerts of the clip.

    Not thread-safe.
    """

    def __init__(
        self,
        watch: Watch,
        *,
        site: str,
        run: str,
        replay: bool,
        several_detectors: bool,
        on_seen: Callable[[DriftSeen], None],
        generation: int | None = None,
    ) -> None:
        """
        Args:
            run, replay, several_detectors, generation: as those of :class:`pipeline.alerts.assembler.AlertAssembler`.
            on_seen: called with the state after each block, and when it starts over.
        """
        self._watch = watch
        self._machine = DriftMachine(watch.camera)
        self._on_seen = on_seen
        self._rarities: set[tuple[str, str]] = set()  # models and versions
        self._events: list[DriftEvent] = []
        self._event = partial(
            drift_event,
            site=site,
            run=run,
            replay=replay,
            detector=watch.detector or None,
            several_detectors=several_detectors,
            generation=generation,
        )

    def adopt(self, served: ServedModel) -> None:
        """Note whether the scores of this model are rarities; none of them was handed in yet."""
        named = (served.name, served.version)
        if served.rarity:
            self._rarities.add(named)
        else:
            self._rarities.discard(named)

    def take(self, clip: ClipScore) -> None:
        """Take the next clip in order."""
        if (clip.model, clip.model_version) in self._rarities:
            self._follow(lambda: self._machine.push(clip))
        else:
            self._follow(lambda: self._machine.close(MODEL_CHANGED))

    def close(self) -> None:
        """End an open drift: nothing more comes."""
        self._follow(lambda: self._machine.close(CLOSED))

    def pop(self) -> list[DriftEvent]:
        """Return the events since the last call, in order."""
        events, self._events = self._events, []
        return events

    def _follow(self, step: Callable[[], DriftTransition | None]) -> None:
        """Let the machine make a step, and report its outcome."""
        before = self._machine.blocks
        transition = step()
        if self._machine.blocks != before:
            self._on_seen(self._machine.seen)
        if transition is not None:
            self._report(transition)

    def _report(self, transition: DriftTransition) -> None:
        about = {
            "camera": self._watch.camera,
            **({"detector": self._watch.detector} if self._watch.detector else {}),
            "share_above_learned_tenth": round(transition.share, 3),
        }
        if transition.end_reason is None:
            _log.warning("the camera no longer looks as it was learned; look at it, or learn it again", **about)
        else:
            _log.info("the drift of the camera is over", **about, reason=transition.end_reason)
        self._events.append(self._event(transition))
