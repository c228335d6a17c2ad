"""The steps of a Dockerfile, and their run in a folder in place of the image's root, with a clean environment.

No container runs here: the programs are this machine's, and the folder stands for the root of every stage.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Folders of the image that steps write to.
_ROOTS = re.compile(r"(?<![\w.])/(build|opt|var/lib)(?=/|\b)")


@dataclass(frozen=True)
class Step:
    """One instruction: its name, its arguments, and the stage (from 0)."""

    name: str
    text: str
    stage: int

    def words(self) -> list[str]:
        """The arguments, in either form."""
        return json.loads(self.text) if self.text.startswith("[") else shlex.split(self.text)


def steps(file: Path) -> list[Step]:
    """The instructions of a Dockerfile."""
    lines = [line for line in file.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found: list[Step] = []
    stage = -1
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, text = line.strip().partition(" ")
        stage += name == "FROM"
        found.append(Step(name, text.strip(), stage))
    return found


class Build:
    """Runs the steps over ``root``, a folder in place of the image's."""

    def __init__(self, context: Path, root: Path) -> None:
        self.context = context
        self.root = root
        self._folder = root
        python = root / "image-python"
        venv.create(python, with_pip=True)  # the base image's Python, which steps may install into
        own = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name == "SSL_CERT_FILE"}
        self.environment = {**own, "PATH": f"{python / 'bin'}:/usr/bin:/bin", "HOME": str(root), "LANG": "C.UTF-8"}
        self.environment["PIP_NO_COMPILE"] = "1"

    def real(self, text: str) -> str:
        """The text with the image's folders in ``root``."""
        return _ROOTS.sub(lambda match: f"{self.root}/{match[1]}", text)

    def run(self, step: Step) -> None:
        """Run one instruction; those that only describe the image do nothing."""
        if step.name == "WORKDIR":
            self._folder = Path(self.real(step.text))
            self._folder.mkdir(parents=True, exist_ok=True)
        elif step.name == "COPY":
            self._copy([word for word in step.words() if not word.startswith("--chown")])
        elif step.name == "RUN":
            self._shell(self.real(step.text))

    def _copy(self, words: list[str]) -> None:
        if words[0].startswith("--from="):  # all stages share one root
            assert Path(self.real(words[1])).exists(), words
            assert words[1] == words[2], "the test's stages share their folders"
            return
        *sources, target = words
        for source in sources:
            place = self._folder / target
            if (self.context / source).is_dir():
                shutil.copytree(self.context / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(self.context / source, place / Path(source).name)

    def _shell(self, command: str) -> None:
        done = subprocess.run(
            ["/bin/sh", "-ec", command],
            cwd=self._folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"

    @contextlib.contextmanager
    def started(self, image: list[Step], *arguments: str, ports: dict[str, str]) -> Iterator[Container]:
        """Run the entry point of the image with the environment, the folder and the user of its last stage.

        Args:
            ports: those that the image's health check asks, by the ports that the program has here.
        """
        last = {step.name: step for step in image if step.stage == image[-1].stage}
        user = last["USER"].text.partition(":")[0]
        environment = {name: self.real(value) for name, _, value in (w.partition("=") for w in last["ENV"].words())}
        check = last["HEALTHCHECK"].text.partition("CMD ")[2]
        for named, here in ports.items():
            assert named in check
            check = check.replace(named, here)
        folder = Path(self.real(last["WORKDIR"].text))
        program = shutil.which(last["ENTRYPOINT"].words()[0], path=environment["PATH"])
        assert program is not None
        with (self.root / "output").open("wb") as output:
            process = subprocess.Popen(
                [*as_user(user), program, *arguments],
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            yield Container(process, self.root / "output", json.loads(check), environment)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def call(self, program: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run an installed program, as a container would."""
        environment = {"PATH": f"{self.root / 'opt/mistwatch/bin'}:/usr/bin:/bin", "HOME": str(folder)}
        environment |= {"PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [program, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )


@dataclass(frozen=True)
class Container:
    """A running program of an image.

    Attributes:
        output: what it has printed.
        check: the command of the image's health check.
    """

    process: subprocess.Popen[bytes]
    output: Path
    check: list[str]
    environment: dict[str, str]

    def wait_until_healthy(self, seconds: float = 120.0) -> None:
        """Run the image's health check until it succeeds."""
        until = time.monotonic() + seconds
        command = [str(shutil.which(self.check[0], path=self.environment["PATH"])), *self.check[1:]]
        while subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode:
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.text()}"
            assert time.monotonic() < until, f"not healthy within {seconds:g} s: {self.text()}"
            time.sleep(0.2)

    def users(self) -> set[int]:
        """The users of its processes: real, effective, saved and of files."""
        found: set[int] = set()
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                if os.getpgid(int(status.parent.name)) == self.process.pid:
                    line = next(one for one in status.read_text().splitlines() if one.startswith("Uid:"))
                    found |= {int(number) for number in line.split()[1:]}
        return found

    def text(self) -> str:
        """The end of what it has printed."""
        return self.output.read_text(errors="replace")[-3000:]


def as_user(user: str) -> list[str]:
    """The begin of a command that runs as a user without rights; nothing where the tests themselves are not root's.

    It may read everything, as the interpreter of the tests can lie in root's home, and write nothing of others.
    """
    if os.getuid() != 0:
        return []
    drop = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--no-new-privs", "--bounding-set"]
    return [*drop, "-all,+dac_read_search", "--inh-caps", "-all,+dac_read_search", "--ambient-caps", "+dac_read_search"]


def this_python() -> str:
    """The version of the Python that runs the tests, as an image's tag has it: 3.11."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"
