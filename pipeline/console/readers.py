"""The followers of a site's topics, and the thread that publishes to browsers."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import partial

from pipeline import logs
from pipeline.console.describing import describe
from pipeline.console.documents import TopicHealth
from pipeline.console.following import TopicFollower
from pipeline.console.state import ConsoleState
from pipeline.settings import GroupSite, Site
from pipeline.sinks.kafka_broker import Broker

_log = logs.get("console")

#: Seconds between two looks for changes: alerts and states at each look, scores and pictures likewise.
_LOOK_SECONDS = 0.5
#: Live pictures that are read of each partition at the start: older ones are of no use.
_NEWEST_PICTURES = 200


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of a site; None: the site has switched it off."""

    alerts: str = "mistwatch.alerts"
    cameras: str | None = "mistwatch.cameras"
    scores: str | None = "mistwatch.scores"
    pictures: str | None = "mistwatch.pictures"
    changes: str | None = "mistwatch.changes"
    control: str | None = "mistwatch.control"

    @classmethod
    def of(cls, site: Site) -> Topics:
        """Return the topics of a site, or of a group's site."""
        kafka = site.kafka
        is_group = isinstance(site, GroupSite)
        return cls(
            kafka.topic,
            kafka.cameras_topic,
            kafka.scores_topic,
            kafka.pictures_topic,
            None if is_group else kafka.changes_topic,
            kafka.control_topic if is_group else None,
        )


class Readers:
    """Keeps a :class:`ConsoleState` up to date from the topics."""

    def __init__(self, broker: Broker, topics: Topics, state: ConsoleState) -> None:
        self._state = state
        follow = partial(TopicFollower, broker, on_change=self._note_change)
        self._followers: dict[str, TopicFollower] = {"alerts": follow(topics.alerts, state.take_alert)}
        if topics.cameras is not None:
            self._followers["cameras"] = follow(topics.cameras, state.take_report)
        if topics.scores is not None:
            self._followers["scores"] = follow(topics.scores, state.take_score)
        if topics.pictures is not None:
            self._followers["pictures"] = follow(topics.pictures, state.take_picture, newest=_NEWEST_PICTURES)
        if topics.changes is not None:
            self._followers["changes"] = follow(topics.changes, state.take_change)
        if topics.control is not None:
            self._followers["control"] = follow(topics.control, state.take_control)
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._ticker = threading.Thread(target=self._run, name="console-updates", daemon=True)

    def start(self) -> None:
        """Begin to read. Returns at once, also when the broker is away."""
        for follower in self._followers.values():
            follower.start()
        self._ticker.start()

    def stop(self) -> None:
        """End the reading."""
        self._stop.set()
        for follower in self._followers.values():
            follower.ask_to_stop()
        for follower in self._followers.values():
            follower.stop(2.0)

    @property
    def is_ready(self) -> bool:
        """Return whether the topic of alerts was read to its end once and can be read now, or is not there yet."""
        freshness = self._followers["alerts"].freshness
        return freshness.is_caught_up and (freshness.trouble is None or freshness.is_missing)

    def health(self) -> list[TopicHealth]:
        """Return the state of each topic's reading."""
        now = time.monotonic()
        found = []
        for purpose, follower in self._followers.items():
            seen = follower.freshness
            stale = seen.stale_seconds(now)
            found.append(
                TopicHealth(
                    topic=seen.topic,
                    purpose=purpose,
                    is_caught_up=seen.is_caught_up,
                    stale_seconds=None if stale is None else round(stale, 1),
                    trouble=seen.trouble,
                    is_missing=seen.is_missing,
                    records=seen.records,
                )
            )
        return found

    def _note_change(self) -> None:
        self._changed.set()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            try:
                self._look()
            except Exception:  # a bug must not end the updates
                _log.exception("updates could not be published; this is a bug")

    def _look(self) -> None:
        self._state.publish_changes(partial(describe, self._state))
        if self._state.is_quiet and self._followers["alerts"].freshness.is_caught_up:
            self._state.is_quiet = False
            self._state.hub.publish("reload", {})  # pages that were opened meanwhile know a part
        if self._changed.is_set():
            self._changed.clear()
            self._state.hub.publish("topics", [one.model_dump() for one in self.health()])
