"""``mistwatch serve``: run the embedded Triton over one model repository until a signal comes."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from pipeline.cli.start import Stopped, ending_signals
from pipeline.errors import MistwatchError

_POLL_SECONDS = 0.2
#: Time for clients' requests in flight when the command ends.
_DRAIN_SECONDS = 6.0

Port = Annotated[int, typer.Option(min=0, max=65535, help="0 chooses a free port.")]


class _Ending:
    """The signals' handler: the first one ends the command, later ones must not disturb the server's stop.

    Attributes:
        asked: whether one came. Python discards what a handler raises in a finalizer.
    """

    def __init__(self) -> None:
        self.asked = False
        for number in ending_signals():
            signal.signal(number, self._handle)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        for number in ending_signals():
            signal.signal(number, signal.SIG_IGN)
        raise Stopped


def serve(
    model: Annotated[
        str, typer.Option(metavar="NAME|DIR", help="Built-in model, or the folder of a trained model.")
    ] = "fights",
    repository: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Serve all models of this repository of `mistwatch export` instead."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to bind to. Triton has no authentication.")] = "127.0.0.1",
    grpc_port: Port = 8001,
    http_port: Port = 8000,
    metrics_port: Port = 8002,
    log: Annotated[Path | None, typer.Option(metavar="FILE", help="Append Triton's output to this file.")] = None,
) -> None:
    """Serve models on an embedded Triton: clips in, scores, features and heat out. Ends at Ctrl-C or SIGTERM."""
    from deploy.triton.server import TritonServer
    from pipeline.cli.repository import repository_of

    ending = _Ending()
    try:
        server = TritonServer(
            repository or repository_of(model),
            host=host,
            grpc_port=grpc_port,
            http_port=http_port,
            metrics_port=metrics_port,
            log=log,
            drain_seconds=_DRAIN_SECONDS,
        )
        with server:
            typer.echo(
                f"Triton is ready: gRPC {server.grpc_address}, HTTP {server.http_address}, "
                f"metrics http://{server.metrics_address}/metrics"
            )
            while server.alive() and not ending.asked:
                time.sleep(_POLL_SECONDS)
        if not ending.asked:
            raise MistwatchError(f"the embedded Triton has ended by itself{f' (log: {log})' if log else ''}")
    except Stopped:
        pass
    typer.echo("stopped")
