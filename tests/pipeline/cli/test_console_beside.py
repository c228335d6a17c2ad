"""``run --console``: the console beside a worker, which goes on whatever becomes of it."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import noida_db  # noqa: F401  # fixture
from group_workers import Pictures
from ports import free_port
from site_runs import read_until, wait_for_metric, write_site
from structlog.testing import capture_logs
from triton_of_brightness import Server

from pipeline.access_settings import AccessSettings, listen_address
from pipeline.cli import console_beside as beside
from pipeline.console.readers import Topics
from pipeline.console.serving import Console
from pipeline.errors import UsageError

SITE = "cameras: {gate: {source: 'rtsp://127.0.0.1:1/gate'}}\n"
#: Runs the command with the packages of the console made impossible to import.
WITHOUT_CONSOLE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"fastapi", "starlette", "uvicorn", "argon2"}:
            raise ModuleNotFoundError(f"no {name}", name=name.split(".")[0])

sys.meta_path.insert(0, Refuse())
from pipeline.cli.main import main
main()
"""


def start(config: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "pipeline.cli", "run", "--config", str(config), "--json", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def answer(url: str) -> Any:
    """Return the JSON of an answer, None where the server does not run."""
    try:
        with urllib.request.urlopen(url, timeout=10) as found:
            return json.load(found)
    except urllib.error.URLError:
        return None


def soon(right: Callable[[], Any], seconds: float = 60.0) -> Any:
    limit = time.monotonic() + seconds
    while not (found := right()):
        assert time.monotonic() < limit, "not in time"
        time.sleep(0.05)
    return found


@pytest.fixture
def triton(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "triton")
    server.start()
    yield server
    server.stop()


@pytest.mark.realparts
@pytest.mark.waits
def test_a_worker_has_a_console_beside_it_and_works_without_one_where_its_port_is_taken(
    tmp_path: Path,
    triton: Server,
    noida_db: Any,  # noqa: F811
) -> None:
    port = free_port()
    with Pictures() as pictures, socket.create_server(("127.0.0.1", 0)) as other:
        camera = f"  gate: {{source: '{pictures.url('/picture')}', snapshot_seconds: 0.2}}\n"
        file = write_site(tmp_path, triton.address, noida_db.bootstrap, camera, metrics_port=port)
        taken = other.getsockname()[1]
        process = start(file, "--console", str(taken))
        try:
            log = read_until(process, "another program uses this port")
            assert f"console at 127.0.0.1:{taken}: another program uses this port; name another port" in log
            assert "the work goes on without it" in log
            wait_for_metric(process, port, 'mistwatch_clips_scored_total{camera="gate"}', 1)
            process.terminate()
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
        process = start(file, "--console", "0")
        try:
            log = read_until(process, "the console is there")
            (line,) = [line for line in log.splitlines() if "the console is there" in line]
            (url,) = re.findall(r"http://127\.0\.0\.1:\d+", line)
            soon(
                lambda: (
                    [one["is_live"] for one in (answer(f"{url}/api/cameras") or {"cameras": []})["cameras"]] == [True]
                )
            )
            process.terminate()
            assert process.wait(30) == 0
            assert answer(f"{url}/healthz") is None
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("settings", "arguments", "words"),
    [
        ("", ["--console", "0.0.0.0:0"], "console address 0.0.0.0: not loopback, and no login is configured"),
        ("console: {listen: '0.0.0.0:0'}\n", [], "console address 0.0.0.0: not loopback, and no login is configured"),
        ("", ["--console", "gate"], "--console gate: must be PORT or HOST:PORT, as 8080 or [::1]:8080"),
        ("console: {listen: 65536}\n", [], "console.listen: must be PORT or HOST:PORT, as 8080 or [::1]:8080"),
    ],
)
def test_an_address_that_cannot_be_served_is_refused_in_one_line(tmp_path, settings, arguments, words):
    file = tmp_path / "site.yaml"
    file.write_text(SITE + settings)
    command = [sys.executable, "-P", "-m", "pipeline.cli", "run", "--config", str(file), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 2, result.stderr
    assert words in result.stderr
    assert sum(line.startswith("mistwatch: ") for line in result.stderr.splitlines()) == 1


def test_a_worker_without_the_consoles_packages_names_the_extra(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(SITE)
    command = [sys.executable, "-P", "-c", WITHOUT_CONSOLE, "run", "--config", str(file), "--console", "0"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 2, result.stderr
    assert "pip install 'mistwatch[console]'" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8080", ("127.0.0.1", 8080)),
        ("0", ("127.0.0.1", 0)),
        ("0.0.0.0:8443", ("0.0.0.0", 8443)),
        ("console.example.org:443", ("console.example.org", 443)),
        ("[::1]:8080", ("::1", 8080)),
    ],
)
def test_an_address_is_a_port_with_or_without_a_host(text: str, address: tuple[str, int]) -> None:
    assert listen_address(text) == address
    assert AccessSettings(listen=text).listen == text


@pytest.mark.parametrize("text", ["", ":8080", "host:", "65536", "-1", "8o8o", "::1:8080", "a b:1", "http://x:1", "²"])
def test_another_text_is_not_an_address(text: str) -> None:
    with pytest.raises(ValueError, match="must be PORT or HOST:PORT"):
        listen_address(text)


def consoles(port: int, made: list[Console]) -> Callable[[], Console]:
    """Return what makes a console whose broker is away, and keeps it in ``made``."""

    def make() -> Console:
        made.append(Console("127.0.0.1:1", Topics(), port=port))
        return made[-1]

    return make


def test_a_console_that_ends_by_itself_is_served_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "_RETRY_SECONDS", 0.5)
    made: list[Console] = []
    urls: list[str] = []
    with beside.console_beside(consoles(0, made), threading.Event(), urls.append):
        assert answer(f"{urls[0]}/healthz") == {"status": "ok"}
        made[0]._server.should_exit = True
        soon(lambda: len(urls) > 1)
        assert answer(f"{urls[1]}/healthz") == {"status": "ok"}
    assert answer(f"{urls[1]}/healthz") is None


def test_a_port_that_becomes_free_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "_RETRY_SECONDS", 0.5)
    urls: list[str] = []
    other = socket.create_server(("127.0.0.1", 0))
    with beside.console_beside(consoles(other.getsockname()[1], []), threading.Event(), urls.append):
        assert urls == []
        other.close()
        soon(lambda: urls)
        assert answer(f"{urls[0]}/healthz") == {"status": "ok"}


def test_a_command_that_ends_takes_its_console_along() -> None:
    stop, made, urls = threading.Event(), list[Console](), list[str]()
    with beside.console_beside(consoles(0, made), stop, urls.append):
        stop.set()
        soon(lambda: not made[0].is_running)


def test_a_bug_in_the_console_is_logged_and_the_work_goes_on() -> None:
    def make() -> Console:
        raise RuntimeError("no such thing")

    with capture_logs() as lines, beside.console_beside(make, threading.Event(), print):
        pass
    assert [line["event"] for line in lines] == ["the console cannot be served; this is a bug"]


def test_settings_that_can_never_serve_it_end_the_command() -> None:
    def make() -> Console:
        return Console("127.0.0.1:1", Topics(), host="0.0.0.0", port=0)

    with pytest.raises(UsageError, match="not loopback"), beside.console_beside(make, threading.Event(), print):
        pytest.fail("nothing runs without the console that was asked for")
