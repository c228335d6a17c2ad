"""``mistwatch watch``: watch cameras or recordings with no configuration file, and no server of one's own."""

from __future__ import annotations

import contextlib
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import CameraTrust, camera_tls
from pipeline.cli.repository import DEFAULT_MODEL, require_model, serving
from pipeline.errors import UsageError
from pipeline.printable import printable

if TYPE_CHECKING:
    from deploy.broker.server import BrokerServer
    from deploy.triton.server import TritonServer
    from pipeline.scoring.served_model import ServedModel
    from pipeline.settings import Site


def watch(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE…",
            help="rtsp://…, http://…, device:///dev/video0, synthetic://courtyard, videos, a camera's folder.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="A committed model, or a directory that training wrote.",
            show_default="fights; with --triton what that serves",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Alert events as JSON lines, then a summary line.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Where pictures, outbox and logs go.", show_default="runs/<time>")
    ] = None,
    triton: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="gRPC of your Triton.", show_default="an embedded one")
    ] = None,
    kafka: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Your Kafka.", show_default="an embedded broker")
    ] = None,
    topic: Annotated[str, typer.Option(help="The topic of the alerts.")] = "mistwatch.alerts",
    fps: Annotated[
        str | None, typer.Option(help="Frames a second, or native.", show_default="as the model was trained")
    ] = None,
    stride: Annotated[
        int | None, typer.Option(help="Frames from clip to clip.", show_default="as the model was trained")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Smoothed score that opens an alert.", show_default="the model's")
    ] = None,
    username: Annotated[
        str | None, typer.Option(help="For the cameras; the password comes from MISTWATCH_PASSWORD.")
    ] = None,
    transport: Annotated[str, typer.Option(help="Of RTSP: tcp or udp.")] = "tcp",
    tls: CameraTrust = None,
    snapshot_seconds: Annotated[
        float | None, typer.Option(help="Seconds between two fetches of an http:// source that is a single picture.")
    ] = None,
    stream: Annotated[
        int | None, typer.Option(help="Number of the video stream to watch, from 0.", show_default="the first")
    ] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Serve Prometheus metrics on this port.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for cameras that cannot be reached at the start.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Watch SOURCEs and raise alerts, until the recordings end or Ctrl-C.

    Starts a Triton and a broker of its own where none is named.
    """
    from pipeline import logs
    from pipeline.cli import embedded
    from pipeline.cli.legend import print_legend
    from pipeline.cli.live import display_for, drive, stopping
    from pipeline.sources.source_names import source_names

    logs.configure("auto", "info" if verbose else "warning")
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = out or Path("runs") / stamp
    cameras = dict(zip(source_names(sources), sources, strict=True))

    def site_with(triton_address: str, bootstrap: str) -> Site:
        from pipeline.settings import site_from_options
        from pipeline.sources.http import is_web_address

        if snapshot_seconds is not None and not any(map(is_web_address, sources)):
            raise UsageError("--snapshot-seconds: no SOURCE is an http:// or https:// address")
        common = {
            "username": username,
            "password": os.environ.get("MISTWATCH_PASSWORD"),
            "transport": transport,
            "tls": camera_tls(tls),
            "stream": stream,
        }
        snapshots = {"snapshot_seconds": snapshot_seconds}
        document: dict[str, Any] = {
            "site": "watch",
            "state_dir": folder,
            "triton": {"address": triton_address},
            "kafka": {"bootstrap": bootstrap, "topic": topic},
            "clip": {"fps": _fps(fps), "stride": stride},
            "alerts": {"open_threshold": threshold},
            "cameras": {
                name: {"source": source, **common, **(snapshots if is_web_address(source) else {})}
                for name, source in cameras.items()
            },
        }
        if metrics_port is not None:
            document["metrics"] = {"port": metrics_port}
        return site_from_options(document)

    def check_model(served: ServedModel) -> None:
        if model is not None and triton is not None:
            require_model(model, served, triton)

    site_with("127.0.0.1:1", "127.0.0.1:1")  # refuse bad options before servers are started
    live = check_sources(cameras)
    if len(cameras) > 1:  # a single one needs no legend to be known by
        print_legend(cameras)
    with stopping() as stop, contextlib.ExitStack() as servers:
        folder.mkdir(parents=True, exist_ok=True)
        own: list[TritonServer | BrokerServer] = []
        with stop.at_once():
            if triton is None:
                started = embedded.triton(serving(model or DEFAULT_MODEL), folder / "triton.log")
                own.append(scorer := servers.enter_context(started))
            if kafka is None:
                own.append(broker := servers.enter_context(embedded.broker(folder / "broker", topic)))
        drive(
            site_with(triton or scorer.grpc_address, kafka or broker.bootstrap),
            stop=stop,
            display=display_for(as_json=as_json, stop=stop),
            run=stamp,
            await_servers=live,
            await_cameras=wait,
            repair_scorer=triton is None,
            servers_lost=lambda: embedded.ended(own),
            check_model=check_model,
        )


def check_sources(cameras: dict[str, str]) -> bool:
    """Refuse unusable sources before servers start: a missing file, not a video, an unknown kind.

    Args:
        cameras: the sources by their cameras' names.

    Returns:
        Whether one of them is live.

    Raises:
        SourceError: a source cannot be used.
    """
    from pipeline.cli.archives import watched
    from pipeline.sources.factory import open_source

    opened = [open_source(name, source) for name, source in cameras.items()]
    for line in watched(opened):
        print(f"mistwatch: {printable(line)}", file=sys.stderr)
    return any(source.live for source in opened)


def _fps(text: str | None) -> float | str | None:
    if text is None or text == "native":
        return text
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--fps: expected a number or native, got {text!r}") from None
