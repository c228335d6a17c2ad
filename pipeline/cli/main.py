"""The command ``mistwatch``: puts the command groups together and turns failures into one line and a status.

This folder is the composition root. A command imports what it needs when it runs, so that ``mistwatch run`` on an
ingest worker never imports torch and ``--help`` is instant.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from deploy.errors import DeployError
from pipeline.cli import (
    alerts,
    calibrate,
    cameras,
    changes,
    compare,
    config,
    console,
    console_users,
    evaluate,
    export,
    features,
    learn,
    manifest,
    outbox,
    places,
    replay,
    run,
    serve,
    status,
    synth,
    train,
    versions,
    watch,
    weights,
)
from pipeline.cli.demo import command as demo
from pipeline.errors import MistwatchError
from pipeline.printable import printable

#: An ingest worker's install lacks these on purpose; which group brings them.
_GROUP_OF = {
    "torch": "train",
    "sklearn": "evaluate",
    "pyarrow": "evaluate",
    "jinja2": "evaluate",
    "scipy": "evaluate",
    "safetensors": "train",
    "stamina": "train",
    "openvino": "serve",
    "noida_db": "serve",
    "cv2": "demo",
    "anyio": "console",
    "argon2": "console",
    "authlib": "oidc",
    "fastapi": "console",
    "joserfc": "oidc",
    "starlette": "console",
    "uvicorn": "console",
}

app = typer.Typer(
    name="mistwatch",
    help="Watch cameras for the abnormal: clips in, anomaly scores, alerts on a Kafka topic.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("watch")(watch.watch)
app.command("run")(run.run)
app.command("status")(status.status)
app.command("console")(console.console)
app.command("demo")(demo.demo)
app.command("replay")(replay.replay)
app.command("serve")(serve.serve)
app.command("export")(export.export)
app.command("evaluate")(evaluate.evaluate)
app.command("calibrate")(calibrate.calibrate)
app.command("learn")(learn.learn)
app.command("compare")(compare.compare)
app.command("synth")(synth.synth)
app.command("features")(features.features)
app.add_typer(alerts.app, name="alerts")
app.add_typer(cameras.app, name="cameras")
app.add_typer(changes.app, name="changes")
app.add_typer(config.app, name="config")
app.add_typer(console_users.app, name="console-users")
app.add_typer(weights.app, name="weights")
app.add_typer(manifest.app, name="manifest")
app.add_typer(outbox.app, name="outbox")
app.add_typer(places.app, name="places")
app.add_typer(train.app, name="train")
app.add_typer(versions.app, name="versions")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mistwatch {version('mistwatch')}")
        raise typer.Exit


@app.callback()
def _top(
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the command itself."""


def main() -> None:
    """Run a command; an error is printed on standard error and decides the exit status."""
    try:
        app()
    except (MistwatchError, DeployError) as error:
        _fail(str(error), error.exit_status)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in _GROUP_OF:
            raise  # a bug
        group = f"mistwatch[{_GROUP_OF[package]}]"
        print(f"mistwatch: this command needs the package {package}: pip install '{group}'", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), MistwatchError.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(text: str, status: int) -> NoReturn:
    for line in text.splitlines():
        print(f"mistwatch: {printable(line)}", file=sys.stderr)
    sys.exit(status)
