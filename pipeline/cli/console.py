"""``mistwatch console``: serve the operator's pages over the topics and the evidence of a site."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.console.serving import Console


def console(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The site's configuration, which names brokers and topics.")
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka brokers, HOST:PORT[,HOST:PORT…]; the topics have their usual names.")
    ] = None,
    evidence: Annotated[
        Path | None,
        typer.Option(help="Folder of pictures and films.", show_default="with --config, that of the site"),
    ] = None,
    site: Annotated[
        str | None, typer.Option(help="Only this site.", show_default="with --config, its site; else all")
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            help="Address to serve on; others than loopback need users and TLS (console: of the configuration)."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve on; 0 takes a free one.")] = 8080,
) -> None:
    """Serve pages with the cameras, alerts, groups and health of a site, until Ctrl-C.

    It reads the topics and the evidence folder alone, so it runs beside any number of workers, or without one. Live
    pictures need kafka.pictures_topic in the workers' configuration. User, password and TLS of the brokers come from
    the configuration, or with --bootstrap from the environment: MISTWATCH_KAFKA__SECURITY__USER, …__PASSWORD,
    …__TLS_CA.
    """
    if (config is None) == (bootstrap is None):
        raise UsageError("console: name the brokers with --bootstrap, or a configuration with --config")
    if evidence is not None and not evidence.is_dir():
        raise UsageError(f"--evidence {evidence}: not a folder; name the folder evidence of the worker's state_dir")
    from pipeline.cli.live import stopping

    with stopping() as stop:
        served = _console(config, bootstrap, evidence, site, host, port)
        try:
            served.start()
            print(f"mistwatch: the console is at {served.url}", flush=True)
            while not stop.wait(0.5):
                if not served.is_running:
                    raise UsageError(f"console at {served.url}: the web server has ended; see the log")
        finally:
            served.stop()


def _console(
    config: Path | None, bootstrap: str | None, evidence: Path | None, site: str | None, host: str, port: int
) -> Console:
    """Return the console, bound to its address. Raises MistwatchError."""
    from pipeline import logs
    from pipeline.console.readers import Topics
    from pipeline.console.serving import Console

    if config is None:
        assert bootstrap is not None
        return Console(bootstrap, Topics(), site=site, evidence=evidence, host=host, port=port)
    from pipeline.cli.console_beside import site_console
    from pipeline.settings import load_either_site

    settings = load_either_site(config)
    logs.configure(settings.log.format, settings.log.level)
    if site is not None:
        settings = settings.model_copy(update={"site": site})
    return site_console(settings, host, port, evidence=evidence)
