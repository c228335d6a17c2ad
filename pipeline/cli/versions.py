"""``mistwatch versions``: the versions of a served model or of its parts, and the choice of the one that is served."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import MistwatchError
from pipeline.printable import printable

app = typer.Typer(name="versions", help="List and choose versions of an exported model.", no_args_is_help=True)

Repository = Annotated[Path, typer.Argument(metavar="REPOSITORY", help="Model repository of `mistwatch export`.")]
Served = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="Served model.", show_default="the only one of the repository"),
]
Part = Annotated[
    str | None,
    typer.Option(
        "--part", metavar="CAMERA", help="Camera whose part is meant, where the model hosts the parts of several."
    ),
]
Triton = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="gRPC address of a running Triton, which loads the version at once. A part is served at once without it.",
    ),
]


@app.command("list")
def list_versions(repository: Repository, model: Served = None, part: Part = None) -> None:
    """List the versions, newest last, and mark the one that is served."""
    from models.serving.versions import find_part, find_served, served_models

    with _explained(repository):
        names = served_models(repository) if model is None else [model]
        if part is not None:
            lines = _lines(find_part(find_served(repository, model), part))
        elif len(names) <= 1:
            lines = _lines(find_served(repository, model))
        else:
            lines = [line for name in names for line in (f"{name}:", *_lines(repository / name))]
    typer.echo("\n".join(lines))


@app.command("use")
def use(
    repository: Repository,
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="Number of the version.")],
    model: Served = None,
    part: Part = None,
    triton: Triton = None,
) -> None:
    """Serve version NUMBER."""
    from models.serving.versions import serve

    _exchange(repository, model, part, lambda folder: serve(folder, number), triton)


@app.command("rollback")
def rollback(repository: Repository, model: Served = None, part: Part = None, triton: Triton = None) -> None:
    """Serve the version that was served before this one."""
    from models.serving.versions import roll_back

    _exchange(repository, model, part, roll_back, triton)


def _lines(folder: Path) -> list[str]:
    """Return a line for each version of a served model or part, and then of each part that the model hosts."""
    from models.card import CardError
    from models.serving.config import hosts_parts
    from models.serving.versions import VersionError, find_part, parts, served, versions

    current = served(folder)
    hosts = hosts_parts(folder)
    lines = []
    for number in versions(folder):
        try:
            if hosts:
                count = len(parts(folder))
                about = f"hosts the part{'s' * (count != 1)} of {count} camera{'s' * (count != 1)}"
            else:
                about = _about(folder / str(number))
        except CardError as error:
            about = str(error)
        lines.append(f"{number}  {'served' if number == current else '      '}  {about}")
    for name in parts(folder):
        try:
            of_part = _lines(find_part(folder, name))
        except VersionError as error:  # a damaged part hides no other
            of_part = [str(error)]
        lines += [f"{name}:", *(f"  {line}" for line in of_part)]
    return lines


def _about(version: Path) -> str:
    """Return a few words about a version of a served model. Raises CardError, OSError."""
    from models.alike.served.card import read_embedding_card
    from models.card import CARD_FILE
    from models.detectors.base import read_detector
    from models.places.served.card import describe_card, read_served_card
    from models.serving.config import ServedKind, served_kind
    from models.serving.contract import CONFIG_FILE

    kind = served_kind(version) if (version / CONFIG_FILE).is_file() else ServedKind.DETECTOR
    if kind is ServedKind.EMBEDDING:
        embedding = read_embedding_card(version, CARD_FILE)
        return f"{embedding.name} (embeddings {embedding.version}), similarity {embedding.similarity:g}"
    if kind is ServedKind.PLACES:
        return describe_card(read_served_card(version))
    _, card = read_detector(version)
    precision = "" if card.served is None or card.served.precision == "fp32" else f", {card.served.precision}"
    if card.served is not None and card.served.forced:
        precision += " (forced)"
    return f"{card.name} ({card.architecture.type}), threshold {card.alerting.open_threshold:g}{precision}"


def _exchange(
    repository: Path, model: str | None, part: str | None, choose: Callable[[Path], object], triton: str | None
) -> None:
    from models.serving.versions import find_part, find_served, history, locked, parts_beyond, served
    from pipeline.cli.repository import let_load, let_score, report

    with _explained(repository):
        folder = host = find_served(repository, model)
        if part is not None:
            folder = find_part(host, part)
        with locked(repository):
            earlier = history(folder)
            choose(folder)
        if beyond := [name for name in parts_beyond(host) if part in (None, name)]:
            needs = f"need a later version of {host.name} and are not scored by version {served(host)}"
            report(f"the parts of {', '.join(map(printable, beyond))} {needs}; roll each back with --part")
        if triton is not None:
            if part is None:
                let_load(folder, triton, earlier)
            else:
                let_score(host, part, triton, earlier)
            return
        number = served(folder)
    if part is not None:
        if not beyond:
            typer.echo(f"{folder}: version {number} scores from now on")
        return
    typer.echo(f"{folder}: Triton serves version {number} from its next start on, or at once with --triton")


@contextlib.contextmanager
def _explained(repository: Path) -> Iterator[None]:
    """Turn a repository that cannot be read or written into one line."""
    try:
        yield
    except OSError as error:
        raise MistwatchError(f"{error.filename or repository}: cannot be read or written: {error.strerror}") from error
