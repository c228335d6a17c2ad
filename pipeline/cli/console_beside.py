"""A console beside another command's work: ``run --console`` and ``demo --console``. The work never depends on it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import logs
from pipeline.access_settings import AccessSettings, listen_address
from pipeline.errors import MistwatchError, UsageError

if TYPE_CHECKING:
    from pipeline.console.serving import Console
    from pipeline.settings import Site

_log = logs.get("console")

#: Time between two attempts to serve a console that could not be served, or whose server has ended, seconds.
_RETRY_SECONDS = 30.0
_LOOK_SECONDS = 0.25
#: A command that ends waits this long for its console, seconds; its threads are daemons.
_STOP_SECONDS = 3.0


def console_address(text: str) -> tuple[str, int]:
    """Return the host and port of the option ``--console``. Raises UsageError."""
    try:
        return listen_address(text)
    except ValueError as error:
        raise UsageError(f"--console {text}: {error}") from None


def check_console(host: str, access: AccessSettings) -> None:
    """Raise UsageError where the console's packages are missing, or its address would be open to everyone."""
    try:
        import pipeline.console.serving  # noqa: F401
        from pipeline.console.access import check_binding
    except ModuleNotFoundError as error:
        raise UsageError(
            f"console: the package {error.name} is missing; run pip install 'mistwatch[console]', or do without "
            "--console and console.listen"
        ) from None
    check_binding(host, access)


def site_console(site: Site, host: str, port: int, *, evidence: Path | None = None) -> Console:
    """Return the console of a site, bound to its address.

    Args:
        evidence: folder of the pictures and films; None: that of the site.

    Raises:
        UsageError: the address would be open to everyone, a file of the access cannot be used, or a package is missing.
        ConsoleError: the port is taken or cannot be used.
    """
    check_console(host, site.console)
    from pipeline.console.readers import Topics
    from pipeline.console.serving import Console

    kafka = site.kafka
    return Console(
        kafka.bootstrap,
        Topics.of(site),
        site=site.site,
        evidence=evidence or site.state_dir / "evidence",
        store=site.evidence.store_address,
        security=kafka.security,
        host=host,
        port=port,
        access=site.console,
        creates_topics=kafka.create_topic,
    )


@contextlib.contextmanager
def console_beside(
    make: Callable[[], Console] | None, stop: threading.Event, report: Callable[[str], None]
) -> Iterator[None]:
    """Serve a console while this lasts, until ``stop`` is set; another one in its place where it fails.

    Args:
        make: returns the console, bound to its address; None: none is wanted.
        report: called with the console's URL each time it is served, from any thread.

    Raises:
        UsageError: its settings or its installation can never serve it. Everything else that fails is logged.
    """
    if make is None:
        yield
        return
    keeper = _Keeper(make, stop, report)
    keeper.serve()
    thread = threading.Thread(target=keeper.keep, name="console-keeper", daemon=True)
    thread.start()
    try:
        yield
    finally:
        keeper.over.set()
        thread.join(_STOP_SECONDS)


class _Keeper:
    """Keeps a console at work."""

    def __init__(self, make: Callable[[], Console], stop: threading.Event, report: Callable[[str], None]) -> None:
        self._make, self._stop, self._report = make, stop, report
        self.over = threading.Event()
        self._console: Console | None = None
        self._reported: str | None = None

    def keep(self) -> None:
        """Serve again what has failed, until the command ends."""
        waited = 0.0
        while not self._stop.is_set() and not self.over.wait(_LOOK_SECONDS):
            if self._console is not None and not self._console.is_running:
                self._fail(f"console at {self._console.url}: the web server has ended by itself")
                self._end()
            waited = 0.0 if self._console is not None else waited + _LOOK_SECONDS
            if waited >= _RETRY_SECONDS:
                waited = 0.0
                try:
                    self.serve()
                except UsageError as error:  # a file of the access has changed
                    self._fail(str(error))
        self._end()

    def serve(self) -> None:
        """Serve the console, or log why it cannot be served now. Raises UsageError: it never can be."""
        try:
            self._console = self._make()
            self._console.start()
        except UsageError:
            raise
        except MistwatchError as error:
            self._end()
            self._fail(str(error))
        except Exception:  # the command's own work goes on
            self._end()
            _log.exception("the console cannot be served; this is a bug")
        else:
            self._reported = None
            self._report(self._console.url)

    def _fail(self, problem: str) -> None:
        if problem != self._reported:
            self._reported = problem
            _log.error(f"{problem}; the work goes on without it, next attempt in {_RETRY_SECONDS:.0f} s")

    def _end(self) -> None:
        console, self._console = self._console, None
        if console is not None:
            console.stop()
