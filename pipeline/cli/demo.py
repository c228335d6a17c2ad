"""``mistwatch demo``: the whole path over one video, and its alerts read back from the topic by another process."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.errors import RunFailure

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.alerts.event import AlertEvent
    from pipeline.service import Summary
    from pipeline.worker import CameraState

#: After the last event was published, its consumer gets this long to have it.
_CONSUMER_SECONDS = 20.0
_SAY_EVERY_SECONDS = 30.0


def demo(
    video: Annotated[Path, typer.Argument(help="A video file.")],
    model: Annotated[str, typer.Option(help="A committed model, or a directory that training wrote.")] = "fights",
    out: Annotated[
        Path | None, typer.Option(help="Where pictures, outbox and logs go.", show_default="runs/demo-<time>")
    ] = None,
) -> None:
    """Watch VIDEO with a Triton and a broker of its own, and print the alerts as another process reads them."""
    from pipeline import logs
    from pipeline.cli import embedded
    from pipeline.cli.display import StandardOutput
    from pipeline.cli.errors import explained
    from pipeline.cli.live import drive, stopping
    from pipeline.cli.watch import camera_names, check_sources

    logs.configure("auto", "warning")
    console = StandardOutput(broken=lambda _error: None)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = out or Path("runs") / f"demo-{stamp}"
    with explained():
        check_sources([str(video)])
        folder.mkdir(parents=True, exist_ok=True)

    with stopping() as stop, explained():
        from pipeline.settings import site_from_options

        console.print("starting Triton (the first time the model is fetched and exported) …")
        with contextlib.ExitStack() as servers:
            with stop.at_once():
                triton = servers.enter_context(embedded.triton(model, folder / "triton.log"))
                broker = servers.enter_context(embedded.broker(folder / "broker"))
                consumer = servers.enter_context(Consumer(broker.bootstrap, console.print))
            console.print(f"Triton at {triton.grpc_address}, broker at {broker.bootstrap}; watching {video}")
            site = site_from_options(
                {
                    "site": "demo",
                    "state_dir": folder,
                    "triton": {"address": triton.grpc_address},
                    "kafka": {"bootstrap": broker.bootstrap},
                    "cameras": {name: {"source": source} for name, source in camera_names([str(video)]).items()},
                }
            )
            display = _Progress(console)
            drive(
                site,
                stop=stop,
                display=display,
                run=stamp,
                await_servers=False,
                await_cameras=False,
                repair_scorer=True,
                servers_lost=lambda: embedded.ended([triton, broker]),
            )
            consumer.wait_for(display.published_events, _CONSUMER_SECONDS)
            pictures = sorted(folder.glob("evidence/**/*.jpg"))
            console.print(f"{consumer.events} alert events read back from the topic; {len(pictures)} pictures:")
            for picture in pictures:
                console.print(f"  {picture}")


class Consumer:
    """``mistwatch alerts tail`` in a process of its own: what it reads from the topic is shown as it arrives."""

    def __init__(self, bootstrap: str, show: Callable[[str], None]) -> None:
        from deploy.lifetime import end_with_parent

        since = datetime.now(UTC).isoformat()
        command = [sys.executable, "-P", "-m", "pipeline.cli", "alerts", "tail", "--json"]
        self._process = subprocess.Popen(
            [*command, "--bootstrap", bootstrap, "--since", since],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C is ours to handle
            preexec_fn=end_with_parent,
        )
        self._show = show
        self._arrived = threading.Condition()
        self.events = 0
        self._thread = threading.Thread(target=self._read, name="consumer", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        from pipeline.alerts.event import AlertEvent
        from pipeline.alerts.tail import describe

        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._show(describe(AlertEvent.model_validate_json(line)))
            with self._arrived:
                self.events += 1
                self._arrived.notify()

    def wait_for(self, events: int, seconds: float) -> None:
        """Wait until that many events have arrived.

        Raises:
            RunFailure: they did not arrive in time.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: self.events >= events, seconds):
                raise RunFailure(f"the topic gave back {self.events} of {events} alert events within {seconds:.0f} s")

    def __enter__(self) -> Consumer:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join(1)


class _Progress:
    """Shows no alerts (the consumer does), counts what was published, and says how far the video is."""

    def __init__(self, console: Console) -> None:
        self.published_events = 0
        self._console = console
        self._said_seconds = 0.0

    def published(self, _event: AlertEvent) -> None:
        self.published_events += 1

    def refresh(self, states: list[CameraState]) -> None:
        position = min(state.position_seconds for state in states)
        if position - self._said_seconds >= _SAY_EVERY_SECONDS:
            self._said_seconds = position
            self._console.print(f"  … {position:.0f} s of video", style="dim")

    def finish(self, states: list[CameraState], summary: Summary) -> None:
        self._console.print(f"{summary.clips_scored} clips scored, {summary.clips_dropped} dropped")
