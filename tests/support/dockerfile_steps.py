"""The steps of a Dockerfile, and their run in a folder in place of the image's root, with a clean environment.

No container runs here: the programs are this machine's, and the folder stands for the root of every stage.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
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

    def call(self, program: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run an installed program, as a container would."""
        environment = {"PATH": f"{self.root / 'opt/mistwatch/bin'}:/usr/bin:/bin", "HOME": str(folder)}
        environment |= {"PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [program, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )


def this_python() -> str:
    """The version of the Python that runs the tests, as an image's tag has it: 3.11."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"
