"""Runs a service until its recordings end, a signal comes, or it cannot go on; shared by ``run`` and ``watch``."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pipeline.cli.start import Stopped, end_unstarted, ending_signals
from pipeline.errors import MistwatchError
from pipeline.printable import printable

if TYPE_CHECKING:
    from pipeline.cli.display import Broken, Display
    from pipeline.live.board import CameraState
    from pipeline.live.group_file import GroupFile
    from pipeline.live.reloading import SiteReloading
    from pipeline.scoring.served_model import ServedModel
    from pipeline.settings import Site

#: A one-shot command waits this long for a scorer that went away in the middle, seconds.
SCORER_PATIENCE_SECONDS = 60.0
#: At the end of recordings the relay gets this long to publish the rest, unless a signal comes, seconds.
_RELAY_SECONDS_AT_THE_END = 30.0
#: At any other end it gets this long: a service is started again over its outbox, a one-shot command is not.
_RELAY_SECONDS, _RELAY_SECONDS_ONE_SHOT = 2.0, 10.0
_REFRESH_SECONDS = 0.25


class Stop(threading.Event):
    """Set by a signal that asks the command to end.

    Signals are handled by the main thread between any two of its steps. It may be waiting for this very event then, and
    hold its lock. So the handler does not set the event: it asks a thread to do so, through a reentrant queue.
    """

    def __init__(self) -> None:
        super().__init__()
        self.signal: int | None = None  #: the one that asked; None when none did
        self._raises = False
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Serve the handler while this lasts."""
        setter = threading.Thread(target=self._set_when_asked, name="stop", daemon=True)
        setter.start()
        try:
            yield
        finally:
            self._asked.put(False)
            setter.join()

    def _set_when_asked(self) -> None:
        if self._asked.get():
            self.set()

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """While this lasts, a signal ends what is being done, and :func:`stopping` with it: for starting servers."""
        self._raises = True
        try:
            if self._is_asked:
                raise Stopped
            yield
        finally:
            self._raises = False

    def ask(self, number: int, _frame: object) -> None:
        """The signals' handler; a second signal ends the process at once."""
        if self._is_asked:
            sys.exit(128 + number)
        self.signal = number
        self._asked.put(True)
        if self._raises:
            raise Stopped

    @property
    def _is_asked(self) -> bool:
        return self.signal is not None or self.is_set()


@contextlib.contextmanager
def stopping() -> Iterator[Stop]:
    """An event that SIGTERM, Ctrl-C or a terminal that is closed sets; a second one ends the process at once."""
    stop = Stop()
    before = {number: signal.signal(number, stop.ask) for number in ending_signals()}
    with stop.listening():
        try:
            with contextlib.suppress(Stopped):
                yield stop
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is end_unstarted else handler)


@contextlib.contextmanager
def reading_again(reloading: SiteReloading | GroupFile | None, stop: Stop) -> Iterator[None]:
    """While this lasts, ``kill -HUP`` has the site's file read again; a terminal that is closed still ends the command.

    Under ``nohup`` the signal never ends the command, and the file is read again.
    """
    if reloading is None:
        yield
        return
    has_terminal = _is_terminal_there()

    def hang_up(number: int, frame: object) -> None:
        if has_terminal and ends and not _is_terminal_there():
            stop.ask(number, frame)
        else:
            reloading.ask()

    before = signal.signal(signal.SIGHUP, hang_up)
    ends = before is not signal.SIG_IGN
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def _is_terminal_there() -> bool:
    """Return whether this process has a controlling terminal, which has not been closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def ending(stop: threading.Event) -> Broken:
    """Ends the command once its standard output can be written no longer."""

    def broken(error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):  # `… | head` means to end it
            print(f"mistwatch: standard output cannot be written: {error.strerror}", file=sys.stderr)
        stop.set()

    return broken


def display_for(*, as_json: bool, stop: threading.Event) -> Display:
    """JSON lines when asked for, a live table on a terminal, plain lines elsewhere."""
    from pipeline.cli.display import JsonLines, Lines, LiveTable

    broken = ending(stop)
    if as_json:
        return JsonLines(broken)
    return LiveTable(broken) if sys.stdout.isatty() else Lines(broken)


def drive(
    site: Site,
    *,
    stop: threading.Event,
    display: Display,
    run: str,
    await_servers: bool,
    await_cameras: bool,
    repair_scorer: bool = False,
    servers_lost: Callable[[], str | None] = lambda: None,
    check_model: Callable[[ServedModel], None] = lambda _served: None,
    group: str | None = None,
    reloading: SiteReloading | GroupFile | None = None,
) -> None:
    """Run ``site`` and show it.

    Args:
        run: names this run in the ids of alerts from recordings.
        await_servers: wait for a missing scorer or broker and report it; otherwise it is an error.
        await_cameras: wait for cameras that are away from the start; otherwise it is an error when all of them are. (A
            camera that has once delivered a frame is always waited for.)
        repair_scorer: no other process uses the scorer.
        servers_lost: returns why the embedded servers cannot be waited for any more, or None.
        check_model: called with each served model before anything is watched; what it raises ends the run.
        group: of workers that share the cameras of the control topic.
        reloading: changes the site's cameras while it runs, or says why it does not.

    Raises:
        MistwatchError: one line for each problem, among them recordings of which no clip could be cut or scored.
            Accepted events are in the outbox then.
    """
    from pipeline.live.service import Service, Summary

    service = Service(
        site,
        run=run,
        repair_scorer=repair_scorer,
        published=display.published,
        check_model=check_model,
        group=group,
        changeable=reloading is not None and group is None,
    )
    failure: str | None = None
    try:
        if service.prepare(stop, patient=await_servers):
            assert service.worker is not None
            service.start()
            if reloading is not None:
                reloading.start(service)
            while not stop.is_set() and not service.wait(_REFRESH_SECONDS):
                display.refresh(service.board.states)
                if not await_servers and service.scorer_away_seconds > SCORER_PATIENCE_SECONDS:
                    failure = f"the scorer has been away for {service.scorer_away_seconds:.0f} s: given up"
                elif not await_cameras:
                    failure = _no_camera_there(service.board.states)
                failure = servers_lost() or failure
                if failure:
                    break
            else:
                service.flush(stop, _RELAY_SECONDS_AT_THE_END)
    finally:
        if reloading is not None:
            reloading.close()
        left = service.close(relay_seconds=_RELAY_SECONDS if await_servers else _RELAY_SECONDS_ONE_SHOT)
        summary: Summary = service.summary
        display.finish(service.board.states, summary)
    problems = [failure] if failure else []
    if service.worker is not None:
        problems += [str(error) for error in service.worker.failures]
    for state in service.board.states:
        if state.no_clips_because:
            problems.append(f"camera {state.name}: nothing was watched: {state.no_clips_because}")
        if state.lost and not state.scored and not state.live:
            problems.append(_lost_clips(state))
        elif state.lost:
            print(f"mistwatch: {printable(_lost_clips(state))}", file=sys.stderr)
    if left:
        advice = "they are published when it runs again over the same state folder"
        line = f"{left} alert event(s) are not on the topic yet and stay in {service.outbox.path}: {advice}"
        if await_servers:
            print(f"mistwatch: {line}", file=sys.stderr)
        else:
            problems.append(line)
    if problems:
        raise MistwatchError("\n".join(problems))


def _lost_clips(state: CameraState) -> str:
    """Return the number of a camera's clips that the server refused or failed on, and the cause."""
    cut = state.scored + state.dropped
    lost = f"none of its {cut} clips could" if state.lost == cut else f"{state.lost} of its {cut} clips could not"
    return f"camera {state.name}: {lost} be scored: {state.lost_because}"


def _no_camera_there(states: list[CameraState]) -> str | None:
    """Return why no camera can be reached, if none has been reached so far; else None."""
    from pipeline.live.supervision import State

    away = (State.BACKING_OFF, State.CONNECTING)  # connecting has the reason of the attempt before
    if all(state.condition.state in away and state.condition.reason and not state.ever_connected for state in states):
        return "\n".join(dict.fromkeys(state.message for state in states))
    return None
