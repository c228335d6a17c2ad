"""``mistwatch run``: watch a site's cameras until a signal ends it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import CONSOLE_ADDRESS, CONSOLE_HELP

if TYPE_CHECKING:
    from pipeline.console.serving import Console
    from pipeline.settings import Site


def run(
    config: Annotated[Path, typer.Option("--config", "-c", help="The site's YAML file (see configs/).")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print alert events as JSON lines, then a summary line.")
    ] = False,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Share the cameras of the control topic with the workers of this group; see `mistwatch cameras`.",
            show_default="watch the cameras of --config",
        ),
    ] = None,
    console: Annotated[
        str | None,
        typer.Option(metavar=CONSOLE_ADDRESS, help=CONSOLE_HELP, show_default="console.listen, else none"),
    ] = None,
) -> None:
    """Watch a site's cameras until SIGTERM or Ctrl-C, or until all its recordings have ended.

    Waits for a missing Triton or broker and for cameras that are away. SIGTERM ends it within 10 seconds; every alert
    accepted by then is on the topic, or kept in the outbox for the next start.

    SIGHUP has the file read again: cameras are added, removed and changed, each without the others. `mistwatch changes`
    sends such changes, too.

    With --group, the file names no cameras. A worker that ends or dies leaves its cameras to the others. SIGHUP then
    changes nothing: one line of the log names the settings of the file that need a restart.

    A console that fails, or whose port is taken, is logged, and tried again every 30 s; the worker goes on.
    """
    from pipeline import logs
    from pipeline.cli.console_beside import console_beside
    from pipeline.cli.live import display_for, drive, reading_again, stopping
    from pipeline.errors import UsageError
    from pipeline.live.group_file import GroupFile
    from pipeline.live.reloading import SiteReloading
    from pipeline.settings import load_group_site, load_site
    from pipeline.sources.credentials import shown

    if group is not None and not re.fullmatch(r"[A-Za-z0-9._-]{1,200}", group):
        raise UsageError(f"--group {group}: expected letters, digits, dots, dashes and underscores, up to 200")
    site = load_site(config) if group is None else load_group_site(config)
    logs.configure(site.log.format, site.log.level)
    for name, camera in site.cameras.items():
        logs.get("site").info("camera", camera=name, source=shown(camera.source))
    reloading: SiteReloading | GroupFile
    if group is None:
        reloading = SiteReloading(site, partial(load_site, config))
        site = reloading.first_site()
    else:
        reloading = GroupFile(partial(load_group_site, config), site.kafka.control_topic)
    with (
        stopping() as stop,
        reading_again(reloading, stop),
        console_beside(_console(site, console), stop, partial(_report, site)),
    ):
        drive(
            site,
            stop=stop,
            display=display_for(as_json=as_json, stop=stop),
            run=datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
            await_servers=True,
            await_cameras=True,
            group=group,
            reloading=reloading,
        )


def _console(site: Site, option: str | None) -> Callable[[], Console] | None:
    """Return what makes the worker's console; None: none is wanted. Raises UsageError."""
    from pipeline.access_settings import listen_address
    from pipeline.cli.console_beside import console_address, site_console

    if option is not None:
        host, port = console_address(option)
    elif site.console.listen is not None:
        host, port = listen_address(site.console.listen)
    else:
        return None
    return partial(site_console, site, host, port)


def _report(site: Site, url: str) -> None:
    from pipeline import logs

    pictures = "live" if site.kafka.pictures_topic else "of alerts only; kafka.pictures_topic has live ones"
    logs.get("console").info("the console is there", url=url, pictures=pictures)
