"""``mistwatch changes``: changes of the cameras of a site's file, sent to its running worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import UsageError
from pipeline.printable import printable

if TYPE_CHECKING:
    from pipeline.live.audit import Change
    from pipeline.settings import Site
    from pipeline.sinks.compacted_topic import CompactedTopic

app = typer.Typer(help="Change the cameras of a running worker with a site's file.", no_args_is_help=True)

Config = Annotated[Path, typer.Option("--config", "-c", help="The site's YAML file.")]
By = Annotated[str | None, typer.Option(help="Who asks for it, for the worker's log.", show_default="user@host")]


@app.command("set")
def set_(
    camera: Annotated[str, typer.Argument(help="Name of the camera.")],
    changes: Annotated[
        list[str],
        typer.Argument(metavar="SETTING=VALUE...", help="alerts.open_threshold=0.7, zones.road={points: …}, schedule="),
    ],
    config: Config,
    by: By = None,
) -> None:
    """Change settings of a camera, or add one by its source=…: the running worker applies them within seconds.

    Each value is YAML and replaces the old one; without a value the setting has its default again. The changes stay on
    top of the file, also over restarts, until `mistwatch changes drop`.
    """
    from pipeline.live.site_changes import change_site_camera

    site, topic = _site_and_topic(config)
    wanted = parsed_changes(changes)
    if camera not in site.cameras and "source" not in wanted and not _is_added(topic, site, camera):
        raise UsageError(f"camera {camera}: unknown, or just removed; expected one of {', '.join(site.cameras)}")
    try:
        made = change_site_camera(topic, site.site, camera, wanted, file=site.cameras.get(camera), by=by)
    finally:
        topic.close()
    typer.echo(printable(described_change(camera, made)))


@app.command()
def remove(
    camera: Annotated[str, typer.Argument(help="Name of the camera.")],
    config: Config,
    by: By = None,
) -> None:
    """Watch a camera no longer, whatever the file says, until `mistwatch changes drop`."""
    from pipeline.live.site_changes import change_site_camera

    site, topic = _site_and_topic(config)
    if camera not in site.cameras and not _is_added(topic, site, camera):
        raise UsageError(f"camera {camera}: unknown, or just removed; expected one of {', '.join(site.cameras)}")
    try:
        change_site_camera(topic, site.site, camera, None, file=site.cameras.get(camera), by=by)
    finally:
        topic.close()
    typer.echo(printable(f"camera {camera}: removed"))


@app.command()
def drop(
    camera: Annotated[str, typer.Argument(help="Name of the camera.")],
    config: Config,
    by: By = None,
) -> None:
    """Take all changes of a camera back: it is watched as the file has it. Status 2 for a camera without changes."""
    from pipeline.live.site_changes import drop_site_changes

    site, topic = _site_and_topic(config)
    topic.ensure()
    try:
        if not drop_site_changes(topic, site.site, camera, by=by):
            raise UsageError(f"camera {camera}: it has no changes; `mistwatch changes list` has them")
    finally:
        topic.close()
    typer.echo(printable(f"camera {camera}: as {config} has it"))


@app.command("list")
def list_(config: Config) -> None:
    """List the changes on top of the file: a JSON line for each camera, with who made the last one and when."""
    from pipeline.live.site_follower import read_overrides

    site, topic = _site_and_topic(config)
    for camera, override in sorted(read_overrides(topic, site.site).items()):
        by = None if override.change is None else override.change.by
        at = None if override.change is None else override.change.at.isoformat(timespec="seconds")
        print(
            json.dumps({"camera": camera, "changes": override.changes, "removed": override.removed, "by": by, "at": at})
        )


def parsed_changes(texts: list[str]) -> dict[str, Any]:
    """Return the changes of ``SETTING=VALUE`` arguments. Raises UsageError."""
    import yaml

    from pipeline.yaml_text import read_yaml

    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{text[:80]}: expected SETTING=VALUE, such as alerts.open_threshold=0.7")
        try:
            found[name] = read_yaml(value)
        except yaml.YAMLError:
            found[name] = value
    return found


def described_change(camera: str, change: Change) -> str:
    """Return one line for a change that was sent."""

    def shown(value: Any) -> str:
        return "default" if value is None else json.dumps(value, ensure_ascii=False)

    parts = [f"{name} {shown(change.before.get(name))} → {shown(value)}" for name, value in change.after.items()]
    return f"camera {camera}: {', '.join(parts)}"


def _site_and_topic(config: Path) -> tuple[Site, CompactedTopic]:
    from pipeline.live.site_follower import changes_topic
    from pipeline.settings import load_site

    site = load_site(config)
    topic = changes_topic(site)
    if topic is None:
        raise UsageError(f"{config}: kafka.changes_topic is null, so the worker takes no changes")
    return site, topic


def _is_added(topic: CompactedTopic, site: Site, camera: str) -> bool:
    """Return whether earlier changes have added the camera."""
    from pipeline.live.site_follower import read_overrides

    override = read_overrides(topic, site.site).get(camera)
    return override is not None and not override.removed and "source" in override.changes
