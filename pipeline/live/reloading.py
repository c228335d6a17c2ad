"""Changes of a running worker with a site's file: the file is read again, and changes of a topic come on top of it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline import logs
from pipeline.errors import MistwatchError
from pipeline.live.audit import Change
from pipeline.live.site_changes import Override, overridden_site
from pipeline.live.site_follower import SiteFollower, changes_topic, read_overrides
from pipeline.live.site_update import SiteHost, update
from pipeline.settings import Site
from pipeline.sinks.kafka_broker import BrokerUnavailableError

_log = logs.get("changes")

#: Limit for the end of the thread: a camera that is being stopped takes about 5 s, and the worker's stop ends that.
_CLOSE_SECONDS = 1.0


class _Stop:
    """Ends the thread."""


@dataclass(frozen=True, slots=True)
class _Reload:
    """The file is to be read again."""


@dataclass(frozen=True, slots=True)
class _Changed:
    """The newest records of the topic."""

    overrides: Mapping[str, Override | None]


class SiteReloading:
    """Keeps a worker at its site's file and the changes on top of it.

    Args:
        file: the site as its file has it now.
        load: reads the file again. Raises MistwatchError.
    """

    def __init__(self, file: Site, load: Callable[[], Site]) -> None:
        self._file = file
        self._load = load
        self._overrides: dict[str, Override] = {}
        self._problems: dict[str, str] = {}  # of changes, as the log has named them
        self._left: tuple[str, ...] = ()  # settings that need a restart, as the log has named them
        self._host: SiteHost | None = None
        self._topic = changes_topic(file)
        self._follower: SiteFollower | None = None
        self._over = threading.Event()
        # Reentrant, unlike an event: a signal's handler may interrupt this very thread anywhere.
        self._asked: queue.SimpleQueue[_Reload | _Changed | _Stop] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="reloading", daemon=True)

    def first_site(self) -> Site:
        """Return the site to begin with: the file with the changes that the topic has now, if it can be reached."""
        if self._topic is not None:
            try:
                self._overrides = read_overrides(self._topic, self._file.site)
            except BrokerUnavailableError as error:
                # Not there yet: the first change makes it. Or away: its changes are applied when it is back.
                _log.info("no changes of cameras are known yet", reason=str(error))
        return self._wanted()

    def start(self, host: SiteHost) -> None:
        """Apply changes from here on."""
        self._host = host
        for camera, override in self._overrides.items():
            host.note_change(camera, override.change, self._problems.get(camera, ""))
        self._thread.start()
        if self._topic is not None:
            self._follower = SiteFollower(
                self._topic, self._file.site, lambda overrides: self._asked.put(_Changed(overrides))
            )
            self._follower.start()

    def ask(self) -> None:
        """Have the file read again; a signal's handler may call this."""
        self._asked.put(_Reload())

    def close(self) -> None:
        """End the threads; a change that is being applied ends with the worker."""
        self._over.set()
        self._asked.put(_Stop())
        if self._follower is not None:
            self._follower.close()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        while True:
            asked = [self._asked.get()]
            while not self._asked.empty():  # changes that came meanwhile are applied together
                asked.append(self._asked.get())
            if any(isinstance(each, _Stop) for each in asked):
                return
            try:
                self._apply(asked)
            except Exception:
                _log.exception("a change could not be applied; this is a bug")

    def _apply(self, asked: list[_Reload | _Changed | _Stop]) -> None:
        assert self._host is not None
        reads = any(isinstance(each, _Reload) for each in asked)
        if reads and not self._read_file():
            reads = False
        made: dict[str, Change | None] = {}
        for each in asked:
            for camera, override in each.overrides.items() if isinstance(each, _Changed) else ():
                if self._overrides.get(camera) != override:
                    made[camera] = None if override is None else override.change
                    self._put(camera, override)
        if not reads and not made:
            return
        left = update(self._host, self._wanted(), made, self._over.is_set)
        for camera, problem in self._problems.items():
            self._host.note_change(camera, self._overrides[camera].change, problem)
        if left and (reads or left != self._left):
            _log.warning("settings that need a restart of the worker are left as they were", settings=", ".join(left))
        self._left = left
        if reads:
            _log.info("the site's file is in force", cameras=len(self._host.site.cameras))

    def _put(self, camera: str, override: Override | None) -> None:
        self._problems.pop(camera, None)  # a new change is reported anew
        if override is None:
            self._overrides.pop(camera, None)
        else:
            self._overrides[camera] = override

    def _read_file(self) -> bool:
        """Read the file again; return whether it can be used."""
        try:
            self._file = self._load()
        except MistwatchError as error:
            reason = "; ".join(str(error).splitlines())
            _log.error("the site's file cannot be used; everything goes on as before", error=reason)
            return False
        return True

    def _wanted(self) -> Site:
        """Return the file with the changes on top; those that cannot be used are logged, each once."""
        site, problems = overridden_site(self._file, self._overrides)
        for camera, problem in problems.items():
            if self._problems.get(camera) != problem:
                _log.error("a change cannot be used; the camera is as the file has it", camera=camera, error=problem)
        self._problems = problems
        return site
