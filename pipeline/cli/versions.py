"""``mistwatch versions``: which version of a served model is to serve, and back to the one before."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.errors import RunFailure, UsageFailure

app = typer.Typer(
    name="versions", help="Versions of a model in a repository of `mistwatch export`.", no_args_is_help=True
)

Repository = Annotated[Path, typer.Argument(metavar="REPOSITORY", help="The model repository.")]
Triton = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="gRPC of the Triton that serves the repository, to be told at once."),
]


@app.command("list")
def list_versions(repository: Repository) -> None:
    """Every version, newest last, and which of them is served."""
    from models.card import CardError, read_card
    from models.serving.versions import served, versions

    lines = []
    with _one_line(repository):
        model = _model(repository)
        current = served(model)
        for number in versions(model):
            try:
                card = read_card(model / str(number))
                told = f"{card.name} ({card.architecture.type}), threshold {card.alerting.open_threshold:g}"
            except CardError as error:
                told = str(error)
            lines.append(f"{number}  {'served' if number == current else '      '}  {told}")
    typer.echo("\n".join(lines))


@app.command("use")
def use(
    repository: Repository,
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="The version.")],
    triton: Triton = None,
) -> None:
    """Have version NUMBER served."""
    from models.serving.versions import serve

    _exchange(repository, lambda model: serve(model, number), triton)


@app.command("rollback")
def rollback(repository: Repository, triton: Triton = None) -> None:
    """Back to the version that was served before this one."""
    from models.serving.versions import roll_back

    _exchange(repository, roll_back, triton)


def _exchange(repository: Path, choose: Callable[[Path], object], triton: str | None) -> None:
    from models.serving.versions import history, locked, served
    from pipeline.cli.repository import let_load

    with _one_line(repository):
        model = _model(repository)
        with locked(repository):
            earlier = history(model)
            choose(model)
        if triton is not None:
            let_load(model, triton, earlier)
            return
        number = served(model)
    typer.echo(f"{model}: version {number} is served once Triton is told (--triton) or starts again")


@contextlib.contextmanager
def _one_line(repository: Path) -> Iterator[None]:
    """Turn what is wrong with a repository, or what may not be done to it, into one line."""
    from models.serving.versions import VersionError

    try:
        yield
    except VersionError as error:
        raise UsageFailure(str(error)) from error
    except OSError as error:
        raise RunFailure(f"{error.filename or repository}: cannot be read or written: {error.strerror}") from error


def _model(repository: Path) -> Path:
    """The model's folder in a repository. Raises UsageFailure: there is none."""
    from models.serving.export import SERVED_NAME
    from models.serving.versions import CONFIG_FILE

    model = repository / SERVED_NAME
    if not (model / CONFIG_FILE).is_file():
        raise UsageFailure(
            f"{repository}: no repository that `mistwatch export` wrote (no {SERVED_NAME}/{CONFIG_FILE})"
        )
    return model
