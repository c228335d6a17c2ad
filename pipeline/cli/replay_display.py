"""Progress and events of a replay, on standard error and standard output."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from pipeline.printable import printable

if TYPE_CHECKING:
    from pipeline.alerts.reading import Event
    from pipeline.cli.live import Stop
    from pipeline.replay.replay import Progress

#: Without a terminal, a line of progress this often, seconds.
_LINE_SECONDS = 30.0


class ReplayDisplay:
    """Progress and events of a replay, for a person or a program."""

    def __init__(self, *, as_json: bool, stop: Stop) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        from pipeline.cli.display import JsonLines
        from pipeline.cli.live import ending

        class StandardError(Console):
            def on_broken_pipe(self) -> None:
                raise BrokenPipeError  # not rich's SystemExit: it would end the operators' thread alone

        self._stop = stop
        self._json = JsonLines(ending(stop)) if as_json else None
        self._console = StandardError(stderr=True, soft_wrap=True, highlight=False, markup=False)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
        )
        self.bar = Bar(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._task = self.bar.add_task("replay", total=None)
        self._began: tuple[float, float] | None = None  # when, and seconds of recordings that were kept from before
        self._reported_at = time.monotonic()

    def event(self, event: Event) -> None:
        """Show an accepted event."""
        from pipeline.alerts.describe import describe

        if self._json is not None:
            self._json.write(event.to_json().decode())
            return
        try:
            self._console.print(describe(event))
        except OSError:  # the reader has gone
            self._stop.set()

    def progress(self, now: Progress) -> None:
        """Show the progress."""
        at = time.monotonic()
        if self._began is None and now.total_seconds is not None:
            self._began = at, now.seconds
            self.bar.reset(self._task, completed=int(now.seconds), total=now.total_seconds)
        bad = f", {now.failed} cannot be replayed" if now.failed else ""
        gated = f" ({now.gated} gated)" if now.gated else ""
        words = f"{now.done} of {now.recordings} recordings, {now.clips} clips{gated}, {now.alerts} alert(s){bad}"
        if now.hashing is not None:
            name, done, files = now.hashing
            words += f"; {printable(name)}: {done} of {files} files hashed"
        self.bar.update(self._task, completed=now.seconds, description=words)
        if self._console.is_terminal or at < self._reported_at + _LINE_SECONDS:
            return
        self._reported_at = at
        share = left = ""
        if self._began is not None and now.total_seconds:
            share = f", {min(now.seconds / now.total_seconds, 1.0):.0%}"
            speed = (now.seconds - self._began[1]) / max(at - self._began[0], 1e-6)
            if speed > 0:
                left = f", {timedelta(seconds=round(max(now.total_seconds - now.seconds, 0.0) / speed))} left"
        print(f"replay: {words}{share}{left}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def replay_display(*, as_json: bool, stop: Stop) -> Iterator[ReplayDisplay]:
    """Show a replay while the block runs."""
    display = ReplayDisplay(as_json=as_json, stop=stop)
    with display.bar:
        yield display
