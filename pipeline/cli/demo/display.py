"""The display of the demo: progress, incidents on the cameras, and alerts."""

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

#: Interval between lines of progress without a terminal, seconds.
_PROGRESS_SECONDS = 10.0


class DemoDisplay:
    """A display that writes to ``console``, from any thread."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live: Live | None = None
        self._progress_at = time.monotonic()

    def report(self, text: str) -> None:
        """Print one line about the present step."""
        self.console.print(text)

    @contextlib.contextmanager
    def rendering(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """Show the progress of rendering; yields a callback for (frames rendered, frames in all)."""
        began = time.monotonic()

        def print_progress(done: int, total: int) -> None:
            if done and self._progress_is_due():
                left = (time.monotonic() - began) * (total - done) / done
                self.console.print(f"  … {done} of {total} frames, about {left:.0f} s left", style="dim")

        if not self.console.is_terminal:
            self.report(f"{what} …")
            yield print_progress
        else:
            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            with Progress(*columns, console=self.console) as bar:
                task = bar.add_task(what, total=None)
                yield lambda done, total: bar.update(task, completed=done, total=total)
        self.report(f"  rendered in {time.monotonic() - began:.0f} s")

    def watching(self, states: list[CameraState], left_seconds: float) -> None:
        """Show the progress of the watch; called a few times a second."""
        if self.console.is_terminal:
            if self._live is None:
                # Log lines scroll by above the table, unless they go elsewhere (2> file).
                to_terminal = sys.stderr.isatty()
                self._live = Live(console=self.console, refresh_per_second=4, redirect_stderr=to_terminal)
                self._live.start()
            self._live.update(Group(table(states, self.console.width), Text(f"{left_seconds:.0f} s left", "dim")))
        elif self._progress_is_due():
            scored, dropped = sum(state.scored for state in states), sum(state.dropped for state in states)
            line = f"  … {left_seconds:.0f} s left, {scored} clips scored, {dropped} dropped"
            self.console.print(line, style="dim")

    def watched(self) -> None:
        """End the display of the watch."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def shown(self, camera: str, showing: Shown) -> None:
        """Show that an incident has begun on a camera."""
        self._line(showing.began, camera, "shows", showing.kind, style="cyan")

    def alert(self, event: AlertEvent, arrived_at: datetime, verdict: Verdict | None) -> None:
        """Show an event that has arrived at the consumer."""
        data = event.data
        watch = event.subject if data.detector is None else f"{event.subject}/{data.detector}"
        if verdict is not None:
            picture = "".join(f"  {path_of(uri)}" for uri in data.evidence[-1:])
            place = f": {data.place.words}" if data.place is not None and data.place.words else ""
            if verdict.found is not None:
                delay = f"{verdict.delay_seconds:.1f} s after its first frame was sent"
                details = f"{verdict.found.kind}, {delay}{place}{picture}"
                self._line(arrived_at, watch, "ALERT", details, style="bold green")
            else:
                self._line(arrived_at, watch, "ALERT", f"false alarm{place}{picture}", style="bold red")
        elif data.state is AlertState.END and data.ended_pts_seconds is not None:
            lasted = data.ended_pts_seconds - data.started_pts_seconds
            self._line(arrived_at, watch, "ends", f"after {lasted:.1f} s: {data.end_reason}", style="dim")

    def _line(self, at: datetime, watch: str, action: str, details: str, style: str) -> None:
        when = f"{at:%H:%M:%S}.{at.microsecond // 100_000}Z"
        # Terminal control characters are escaped: other programs may write to the topic.
        self.console.print(Text(printable(f"{when}  {watch}  {action:5}  {details}"), style))

    def _progress_is_due(self) -> bool:
        if time.monotonic() - self._progress_at < _PROGRESS_SECONDS:
            return False
        self._progress_at = time.monotonic()
        return True


def path_of(uri: str) -> str:
    """Return the path that a file URI names; another URI unchanged."""
    parts = urlsplit(uri)
    return unquote(parts.path) if parts.scheme == "file" else uri
