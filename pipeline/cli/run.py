"""``mistwatch run``: watch a site's cameras until a signal ends it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer


def run(
    config: Annotated[Path, typer.Option("--config", "-c", help="The site's YAML file (see configs/).")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print alert events as JSON lines, then a summary line.")
    ] = False,
) -> None:
    """Watch a site's cameras until SIGTERM or Ctrl-C, or until all its recordings have ended.

    Waits for a missing Triton or broker and for cameras that are away. SIGTERM ends it within 10 seconds; every alert
    accepted by then is on the topic, or kept in the outbox for the next start.
    """
    from pipeline import logs
    from pipeline.cli.live import display_for, drive, stopping
    from pipeline.settings import load_site
    from pipeline.sources.credentials import shown

    site = load_site(config)
    logs.configure(site.log.format, site.log.level)
    for name, camera in site.cameras.items():
        logs.get("site").info("camera", camera=name, source=shown(camera.source))
    with stopping() as stop:
        drive(
            site,
            stop=stop,
            display=display_for(as_json=as_json, stop=stop),
            run=datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
            await_servers=True,
            await_cameras=True,
        )
