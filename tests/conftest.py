"""What every test may ask for: the shared data, and real parts that must be there in CI."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Generator
from pathlib import Path
from typing import NoReturn

import pytest
import structlog
from hypothesis import HealthCheck, settings

# A busy machine may be slow; that is no finding about the code. Where a change waits for the result (CI), the examples
# are the same each time: a search for new ones belongs where somebody looks at what it finds.
settings.register_profile(
    "mistwatch",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("MISTWATCH_REQUIRE_REALPARTS") == "1",
)
settings.load_profile("mistwatch")

# Where the tests themselves run in the background of a shell (`make test &`, some CI runners) or under nohup, SIGINT or
# SIGHUP is ignored, and every process they start would inherit that: no test could press Ctrl-C, or hang up.
for _ignored, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_ignored) is signal.SIG_IGN:
        signal.signal(_ignored, _usual)

ROOT = Path(__file__).resolve().parent.parent


#: Of how many servers' logs a failure shows how many lines: of those that wrote last.
_LOGS, _LINES = 3, 30
#: Longest line that is shown, characters: some logs hold binary data as text.
_WIDTH = 300


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows what the servers and runs of the tests have logged: the machine of the CI is gone afterwards."""
    report = yield
    if report.failed:
        folder: Path = item.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        with contextlib.suppress(OSError):  # a log may go while we look
            logs = sorted((path.stat().st_mtime, path) for path in folder.rglob("*.log"))
            for _, path in logs[-_LOGS:]:
                lines = [line[:_WIDTH] for line in path.read_text(errors="replace").splitlines()[-_LINES:]]
                report.sections.append((f"end of {path.relative_to(folder)}", "\n".join(lines)))
    return report


def missing_part(what: str) -> NoReturn:
    """Skip with the reason; where real parts are required (CI), fail."""
    if os.environ.get("MISTWATCH_REQUIRE_REALPARTS") == "1":
        pytest.fail(f"a required part is missing: {what}")
    pytest.skip(f"missing: {what}")


@pytest.fixture(autouse=True)
def _own_logging() -> Generator[None]:
    """Undo what a test has configured of the log: at another's level, lines that a test waits for never come."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def require() -> Callable[[str], NoReturn]:
    """The function to call when a real part is missing."""
    return missing_part


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def data() -> Path:
    """The shared data (real footage, golden values); skips where it is absent."""
    folder = Path(os.environ.get("MISTWATCH_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        missing_part(f"the shared data, expected at {folder} (set MISTWATCH_DATA)")
    return folder
