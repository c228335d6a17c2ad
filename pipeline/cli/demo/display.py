"""What a person sees of the demo: how far it is, what the cameras show, and what the alerts make of it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from urllib.parse import unquote, urlsplit

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from operators.alerting import AlertState
from pipeline.alerts.event import AlertEvent
from pipeline.cli.demo.truth import Shown, Verdict
from pipeline.cli.display import table
from pipeline.live.board import CameraState
from pipeline.printable import printable

#: Between two lines of progress where there is no terminal to redraw, seconds.
_SAY_EVERY_SECONDS = 10.0


class DemoDisplay:
    """Writes to ``console``; from any thread, as rich allows it."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live: Live | None = None
        self._said_at = time.monotonic()

    def say(self, text: str) -> None:
        """One line about what is done now."""
        self.console.print(text)

    @contextlib.contextmanager
    def rendering(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """Show how far the rendering is; yields what to tell (frames rendered, frames in all)."""
        began = time.monotonic()

        def say_now_and_then(done: int, of: int) -> None:
            if done and self._is_time_to_say():
                left = (time.monotonic() - began) * (of - done) / done
                self.console.print(f"  … {done} of {of} frames, about {left:.0f} s left", style="dim")

        if not self.console.is_terminal:
            self.say(f"{what} …")
            yield say_now_and_then
        else:
            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            with Progress(*columns, console=self.console) as bar:
                task = bar.add_task(what, total=None)
                yield lambda done, of: bar.update(task, completed=done, total=of)
        self.say(f"  rendered in {time.monotonic() - began:.0f} s")

    def watching(self, states: list[CameraState], left_seconds: float) -> None:
        """How far the watch is; called a few times a second."""
        if self.console.is_terminal:
            if self._live is None:
                # Log lines scroll by above the table, unless they go elsewhere (2> file).
                to_terminal = sys.stderr.isatty()
                self._live = Live(console=self.console, refresh_per_second=4, redirect_stderr=to_terminal)
                self._live.start()
            self._live.update(Group(table(states, self.console.width), Text(f"{left_seconds:.0f} s left", "dim")))
        elif self._is_time_to_say():
            scored, dropped = sum(state.scored for state in states), sum(state.dropped for state in states)
            line = f"  … {left_seconds:.0f} s left, {scored} clips scored, {dropped} dropped"
            self.console.print(line, style="dim")

    def watched(self) -> None:
        """The watch is over."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def shown(self, camera: str, showing: Shown) -> None:
        """An incident has begun on a camera."""
        self._line(showing.began, camera, "shows", showing.kind, style="cyan")

    def alert(self, event: AlertEvent, had_at: datetime, verdict: Verdict | None) -> None:
        """An event has arrived at the consumer."""
        data = event.data
        if verdict is not None:
            picture = "".join(f"  {path_of(uri)}" for uri in data.evidence[-1:])
            if verdict.found is not None:
                said = f"{verdict.found.kind}, {verdict.delay_seconds:.1f} s after its first frame was sent{picture}"
                self._line(had_at, event.subject, "ALERT", said, style="bold green")
            else:
                self._line(had_at, event.subject, "ALERT", f"false alarm{picture}", style="bold red")
        elif data.state is AlertState.END and data.ended_pts_seconds is not None:
            lasted = data.ended_pts_seconds - data.started_pts_seconds
            self._line(had_at, event.subject, "ends", f"after {lasted:.1f} s: {data.end_reason}", style="dim")

    def _line(self, at: datetime, camera: str, what: str, more: str, style: str) -> None:
        when = f"{at:%H:%M:%S}.{at.microsecond // 100_000}Z"
        # Whatever a terminal would interpret is escaped: the topic is not ours alone.
        self.console.print(Text(printable(f"{when}  {camera}  {what:5}  {more}"), style))

    def _is_time_to_say(self) -> bool:
        if time.monotonic() - self._said_at < _SAY_EVERY_SECONDS:
            return False
        self._said_at = time.monotonic()
        return True


def path_of(uri: str) -> str:
    """The path that a file URI names; another URI as it is."""
    parts = urlsplit(uri)
    return unquote(parts.path) if parts.scheme == "file" else uri
