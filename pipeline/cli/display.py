"""Displays of a run: a live table on a terminal, else a line for each event; or JSON lines."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.alerts.describe import describe
from pipeline.alerts.reading import Event
from pipeline.cli.output import ascii_json
from pipeline.live.board import CameraState
from pipeline.live.service import Summary
from pipeline.live.supervision import State

#: Styles of the states; connecting has none.
STATE_STYLES = {
    State.STREAMING: "green",
    State.STALLED: "yellow",
    State.BACKING_OFF: "yellow",
    State.FAILED: "red",
    State.STOPPED: "dim",
}
_BAR_CELLS = 16
#: Width of a terminal that shows all columns.
_WIDE = 100


class Display(Protocol):
    """The display of a run. ``published`` is called on the relay's thread, the rest on the command's."""

    def published(self, event: Event) -> None: ...
    def refresh(self, states: list[CameraState]) -> None: ...
    def finish(self, states: list[CameraState], summary: Summary) -> None: ...


#: Called when standard output cannot be written any more: its reader has gone, or its disk is full.
Broken = Callable[[OSError], None]


class StandardOutput(Console):
    """A console on standard output. When that becomes unwritable, further output is dropped."""

    def __init__(self, on_broken: Broken) -> None:
        super().__init__(soft_wrap=True, highlight=False, markup=False)  # a name may look like markup
        self._on_broken = on_broken

    def on_broken_pipe(self) -> None:
        """Raise instead of rich's SystemExit, which on the relay's thread would end the publishing of alerts."""
        raise BrokenPipeError

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as :meth:`rich.console.Console.print`; an OSError is passed to the callback."""
        try:
            super().print(*objects, **options)
        except OSError as error:
            sys.stdout = None  # else the interpreter reports the error again when it ends
            self._on_broken(error)


class JsonLines:
    """A display that prints published events, then one summary line, as JSON on standard output."""

    def __init__(self, on_broken: Broken) -> None:
        self._on_broken = on_broken
        self._lock = threading.Lock()

    def published(self, event: Event) -> None:
        self.write(event.to_json().decode())

    def refresh(self, states: list[CameraState]) -> None:
        pass

    def finish(self, states: list[CameraState], summary: Summary) -> None:
        self.write(json.dumps({"type": "summary", **asdict(summary)}))

    def write(self, line: str) -> None:
        """Write one document in ASCII, from any thread."""
        try:
            with self._lock:
                print(ascii_json(line), flush=True)
        except OSError as error:
            sys.stdout = None  # else the interpreter reports the error again when it ends
            self._on_broken(error)


class Lines:
    """A display that prints a line for each event, for a file or a pipe that a person will read."""

    def __init__(self, on_broken: Broken) -> None:
        self._console = StandardOutput(on_broken)

    def published(self, event: Event) -> None:
        self._console.print(describe(event))

    def refresh(self, states: list[CameraState]) -> None:
        pass

    def finish(self, states: list[CameraState], summary: Summary) -> None:
        self._console.print(
            f"{summary.clips_scored} clips scored, {gated_clips(summary.clips_gated)}{summary.clips_dropped} dropped, "
            f"{summary.alerts} alert(s) "
            f"from {summary.cameras} camera(s){replaced_connections(summary.scorer_reconnects)}"
        )


def gated_clips(count: int) -> str:
    """Return a part of a summary, if the motion gate kept clips back."""
    return f"{count} gated, " if count else ""


def replaced_connections(count: int) -> str:
    """Return a further part of a summary, if connections to Triton were replaced."""
    return f", {count} dead connection(s) to Triton replaced" if count else ""


class LiveTable(Lines):
    """A display with a row for each camera, redrawn in place; events scroll by above it."""

    def __init__(self, on_broken: Broken) -> None:
        super().__init__(on_broken)
        self._live: Live | None = None

    def refresh(self, states: list[CameraState]) -> None:
        if self._live is None:
            # Log lines scroll by above the table, unless they go elsewhere (2> file).
            to_terminal = sys.stderr.isatty()
            self._live = Live(console=self._console, refresh_per_second=4, redirect_stderr=to_terminal)
            self._live.start()
        self._live.update(table(states, self._console.width))

    def finish(self, states: list[CameraState], summary: Summary) -> None:
        if self._live is not None:
            self._live.update(table(states, self._console.width))
            self._live.stop()
        super().finish(states, summary)


def table(states: list[CameraState], width: int) -> Table:
    """Return the cameras as a table of state, position and score; a narrow table has fewer columns."""
    wide = width >= _WIDE
    with_gated = wide or any(state.gated for state in states)
    rows = Table(box=None, header_style="bold", pad_edge=False)
    rows.add_column("camera")  # only this column and the message may be cut
    rows.add_column("state", no_wrap=True)
    gated = ("gated",) if with_gated else ()
    for header in (*(("at", "frames") if wide else ()), "clips", *gated, "dropped", "alerts"):
        rows.add_column(header, justify="right", no_wrap=True)
    rows.add_column("smoothed score" if wide else "score", no_wrap=True)
    if wide:
        rows.add_column("")
    for state in states:
        minutes, seconds = divmod(state.position_seconds, 60)
        style = "bold white on red" if state.alert_open else STATE_STYLES.get(state.condition.state, "")
        message = state.message.removeprefix(f"camera {state.camera}: ")
        rows.add_row(
            Text(state.name, overflow="ellipsis", no_wrap=True),
            Text("ALERT" if state.alert_open else state.shown, style),
            *((f"{int(minutes)}:{seconds:04.1f}", str(state.frames)) if wide else ()),
            str(state.scored),
            *((str(state.gated),) if with_gated else ()),
            Text(str(state.dropped), "yellow" if state.dropped else ""),
            str(state.alerts),
            _bar(state, cells=_BAR_CELLS if wide else 0),
            *((Text(message, "yellow", overflow="ellipsis", no_wrap=True),) if wide else ()),
        )
    return rows


def _bar(state: CameraState, cells: int) -> Text:
    """Return the smoothed score as a bar of ``cells`` cells with the threshold marked in it, and as a number."""
    if state.smoothed is None:
        return Text("–", "dim")
    filled = round(state.smoothed * cells)
    mark = min(cells - 1, round(state.open_threshold * cells))
    bar = Text()
    above = state.smoothed >= state.open_threshold
    for cell in range(cells):
        symbol = "┃" if cell == mark else ("█" if cell < filled else "░")
        bar.append(symbol, "bold" if cell == mark else ("red" if above else "green") if cell < filled else "dim")
    return bar.append(f" {state.smoothed:.2f}", "" if cells else "red" if above else "green")
