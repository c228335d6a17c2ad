"""``kill -HUP`` of a group's worker: its cameras come from a topic, so its file is only compared."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from pipeline import logs
from pipeline.errors import MistwatchError
from pipeline.live.site_update import SiteHost, planned
from pipeline.settings import Site

_log = logs.get("changes")

#: Limit for the end of the thread, which does no more than to read a file.
_CLOSE_SECONDS = 1.0


class GroupFile:
    """Answers a request to read the file again with one line, and changes nothing.

    Args:
        load: reads the file again. Raises MistwatchError.
        topic: where the cameras come from.
    """

    def __init__(self, load: Callable[[], Site], topic: str) -> None:
        self._load = load
        self._topic = topic
        self._host: SiteHost | None = None
        # Reentrant, unlike an event: a signal's handler may interrupt this very thread anywhere.
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="reloading", daemon=True)

    def start(self, host: SiteHost) -> None:
        """Answer from here on; earlier requests, too."""
        self._host = host
        self._thread.start()

    def ask(self) -> None:
        """Have the file read again; a signal's handler may call this."""
        self._asked.put(True)

    def close(self) -> None:
        """End the thread."""
        self._asked.put(False)
        if self._thread.is_alive():
            self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        while self._asked.get():
            try:
                self._answer()
            except Exception:
                _log.exception("the site's file could not be compared; this is a bug")

    def _answer(self) -> None:
        assert self._host is not None
        try:
            plan = planned(self._host.site, self._load())
        except MistwatchError as error:
            reason = "; ".join(str(error).splitlines())
            _log.error("the site's file cannot be used; everything goes on as before", error=reason)
            return
        differing = (*plan.rules, *plan.left)
        if differing:
            _log.warning(
                "the cameras of a group come from its topic and go on running; settings of the file that need a "
                "restart of the worker are left as they were",
                topic=self._topic,
                settings=", ".join(differing),
            )
        else:
            _log.info(
                "the cameras of a group come from its topic and go on running; the file has not changed",
                topic=self._topic,
            )
