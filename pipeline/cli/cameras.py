"""``mistwatch cameras``: the cameras that the workers of a group watch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import UsageError
from pipeline.printable import printable

if TYPE_CHECKING:
    from pipeline.sinks.compacted_topic import CompactedTopic

app = typer.Typer(help="Add, remove and list the cameras of a group of workers.", no_args_is_help=True)

Bootstrap = Annotated[
    str | None, typer.Option(help="Kafka brokers, HOST:PORT[,HOST:PORT…].", show_default="those of --config")
]
Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="The YAML file of the group's site: its brokers and topic.")
]
By = Annotated[str | None, typer.Option(help="Who asks for it, for the workers' logs.", show_default="user@host")]
Topic = Annotated[str | None, typer.Option(help="The control topic.", show_default="mistwatch.control")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Name of the camera.")],
    source: Annotated[
        str | None,
        typer.Argument(help="rtsp://…, http://… or another live source.", show_default="that of --file"),
    ] = None,
    bootstrap: Bootstrap = None,
    config: Config = None,
    topic: Topic = None,
    detector: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Detector that watches it; may be repeated.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting, such as clip.fps=5; may be repeated."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="YAML file with the camera's settings, as under cameras: NAME: in a site.")
    ] = None,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="Partitions of the topic, where it is created.", show_default="32"),
    ] = None,
    by: By = None,
) -> None:
    """Add a camera to the group, or change its settings: one worker begins to watch it, without a restart.

    Passwords are not sent: give the workers MISTWATCH_CAMERAS__NAME__PASSWORD, or a file in ..._PASSWORD_FILE.
    """
    from pipeline.live.control_topic import put_camera

    document = _document(file, source, detector or [], changes or [])
    control = _control_topic(bootstrap, config, topic, partitions)
    try:
        change = put_camera(control, name, document, by=by)
    finally:
        control.close()
    typer.echo(printable(f"camera {name}: {change}"))


@app.command()
def change(
    name: Annotated[str, typer.Argument(help="Name of the camera.")],
    changes: Annotated[
        list[str],
        typer.Argument(metavar="SETTING=VALUE...", help="alerts.open_threshold=0.7, zones.road={points: …}, schedule="),
    ],
    bootstrap: Bootstrap = None,
    config: Config = None,
    topic: Topic = None,
    by: By = None,
) -> None:
    """Change settings of a camera of the group: its worker applies them while the camera goes on, where it can.

    Each value is YAML and replaces the old one; without a value the setting has its default again.
    """
    from pipeline.cli.changes import described_change, parsed_changes
    from pipeline.live.control_topic import change_camera

    wanted = parsed_changes(changes)
    control = _control_topic(bootstrap, config, topic, None)
    try:
        made = change_camera(control, name, wanted, by=by)
    finally:
        control.close()
    typer.echo(printable(described_change(name, made)))


@app.command()
def remove(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of the cameras.")],
    bootstrap: Bootstrap = None,
    config: Config = None,
    topic: Topic = None,
    by: By = None,
) -> None:
    """Remove cameras from the group: no worker watches them any longer. Status 2 where one is unknown."""
    from pipeline.live.control_topic import remove_camera

    control = _control_topic(bootstrap, config, topic, None)
    unknown = []
    try:
        for name in names:
            if remove_camera(control, name, by=by):
                typer.echo(printable(f"camera {name}: removed"))
            else:
                unknown.append(name)
    finally:
        control.close()
    if unknown:
        raise UsageError(f"{control.topic}: unknown camera {', '.join(unknown)}; `mistwatch cameras list` has them")


@app.command("list")
def list_(
    bootstrap: Bootstrap = None,
    config: Config = None,
    topic: Topic = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON line for each camera.")] = False,
) -> None:
    """List the cameras of the group, and messages that are not cameras."""
    from pipeline.live.control_topic import list_cameras
    from pipeline.sources.credentials import shown

    control = _control_topic(bootstrap, config, topic, None)
    for camera in list_cameras(control):
        place = {"partition": camera.partition, "offset": camera.offset}
        if as_json:
            settings: Any = None
            if camera.settings is not None:
                settings = camera.settings.model_dump(mode="json", exclude_defaults=True)
                settings["source"] = shown(camera.settings.source)
            print(json.dumps({"name": camera.name, "settings": settings, "problem": camera.problem or None, **place}))
        elif camera.settings is None:
            where = f"partition {camera.partition}, offset {camera.offset}"
            typer.echo(f"mistwatch: {printable(f'{where}: {camera.problem}')}", err=True)
        else:
            detectors = "" if camera.settings.detectors is None else f"  {', '.join(camera.settings.detectors)}"
            typer.echo(printable(f"{camera.name}  {shown(camera.settings.source)}{detectors}"))


def _control_topic(
    bootstrap: str | None, config: Path | None, topic: str | None, partitions: int | None
) -> CompactedTopic:
    """Return the topic that the options name. Raises UsageError."""
    from pipeline.settings import GroupSettings, KafkaSettings, load_group_site
    from pipeline.sinks.compacted_topic import CompactedTopic
    from pipeline.sinks.kafka_broker import Broker

    if (bootstrap is None) == (config is None):
        raise UsageError("expected one of --bootstrap and --config: where is the control topic?")
    kafka, group = KafkaSettings(), GroupSettings()
    if config is not None:
        site = load_group_site(config)
        kafka, group = site.kafka, site.group
    return CompactedTopic(
        Broker(bootstrap or kafka.bootstrap, kafka.security),
        topic or kafka.control_topic,
        partitions=partitions or group.partitions,
        create=kafka.create_topic,
    )


def _document(file: Path | None, source: str | None, detectors: list[str], changes: list[str]) -> dict[str, Any]:
    """Return the camera's settings: the file's, then the arguments on top. Raises UsageError."""
    import yaml

    from pipeline.yaml_text import read_yaml

    document: dict[str, Any] = {}
    if file is not None:
        try:
            read = read_yaml(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file}: cannot be read: {error}") from None
        except yaml.YAMLError:
            raise UsageError(f"{file}: not valid YAML; expected a camera's settings") from None
        if not isinstance(read, dict):
            raise UsageError(f"{file}: expected a camera's settings, such as source: rtsp://…")
        document = read
    if source is not None:
        document["source"] = source
    if detectors:
        document["detectors"] = detectors
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not all(key.split(".")):
            raise UsageError(f"--set {key}: expected KEY=VALUE, such as clip.fps=5")
        _set(document, key.split("."), _value(text))
    return document


def _value(text: str) -> object:
    """Return a setting's value as YAML reads it; the text itself where YAML cannot read it."""
    import yaml

    from pipeline.yaml_text import read_yaml

    try:
        return read_yaml(text)
    except yaml.YAMLError:
        return text


def _set(document: dict[str, Any], path: list[str], value: object) -> None:
    for key in path[:-1]:
        inner = document.setdefault(key, {})
        if not isinstance(inner, dict):
            raise UsageError(f"--set {'.'.join(path)}: {key} is one value, it has no settings in it")
        document = inner
    document[path[-1]] = value
