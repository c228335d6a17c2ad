"""``mistwatch versions``: the versions of a served model, and the choice of the one that is served."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import MistwatchError

app = typer.Typer(name="versions", help="List and choose versions of an exported model.", no_args_is_help=True)

Repository = Annotated[Path, typer.Argument(metavar="REPOSITORY", help="Model repository of `mistwatch export`.")]
Served = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="Served model.", show_default="the only one of the repository"),
]
Triton = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="gRPC address of a running Triton, which loads the version at once."),
]


@app.command("list")
def list_versions(repository: Repository, model: Served = None) -> None:
    """List the versions, newest last, and mark the one that is served."""
    from models.serving.versions import find_served, served_models

    with _explained(repository):
        names = served_models(repository) if model is None else [model]
        if len(names) <= 1:
            lines = _lines(find_served(repository, model))
        else:
            lines = [line for name in names for line in (f"{name}:", *_lines(repository / name))]
    typer.echo("\n".join(lines))


@app.command("use")
def use(
    repository: Repository,
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="Number of the version.")],
    model: Served = None,
    triton: Triton = None,
) -> None:
    """Serve version NUMBER."""
    from models.serving.versions import serve

    _exchange(repository, model, lambda folder: serve(folder, number), triton)


@app.command("rollback")
def rollback(repository: Repository, model: Served = None, triton: Triton = None) -> None:
    """Serve the version that was served before this one."""
    from models.serving.versions import roll_back

    _exchange(repository, model, roll_back, triton)


def _lines(folder: Path) -> list[str]:
    """Return a line for each version of a served model."""
    from models.card import CardError
    from models.detectors.base import read_detector
    from models.serving.versions import served, versions

    current = served(folder)
    lines = []
    for number in versions(folder):
        try:
            _, card = read_detector(folder / str(number))
            about = f"{card.name} ({card.architecture.type}), threshold {card.alerting.open_threshold:g}"
        except CardError as error:
            about = str(error)
        lines.append(f"{number}  {'served' if number == current else '      '}  {about}")
    return lines


def _exchange(repository: Path, model: str | None, choose: Callable[[Path], object], triton: str | None) -> None:
    from models.serving.versions import find_served, history, locked, served
    from pipeline.cli.repository import let_load

    with _explained(repository):
        folder = find_served(repository, model)
        with locked(repository):
            earlier = history(folder)
            choose(folder)
        if triton is not None:
            let_load(folder, triton, earlier)
            return
        number = served(folder)
    typer.echo(f"{folder}: Triton serves version {number} from its next start on, or at once with --triton")


@contextlib.contextmanager
def _explained(repository: Path) -> Iterator[None]:
    """Turn a repository that cannot be read or written into one line."""
    try:
        yield
    except OSError as error:
        raise MistwatchError(f"{error.filename or repository}: cannot be read or written: {error.strerror}") from error
