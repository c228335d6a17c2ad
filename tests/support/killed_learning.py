"""A job that learns a camera, killed in the middle and run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def learn_killed_once(family: str, recipe: str, film: Path, out: Path, *, at: str, hold_out: float) -> None:
    """Learn ``film`` into ``out`` in a process that is killed once a file appears there, and then to the end.

    Args:
        family: whose function is ``learn_FAMILY``.
        recipe: an expression of the family's module ``recipe``.
        at: the file, as a pattern below ``out``.
    """
    program = (
        "from pathlib import Path; from models.data.normal_footage import read_footage\n"
        f"from models.detectors.{family}.job import learn_{family}\n"
        f"from models.detectors.{family}.recipe import *\n"
        f"footage = read_footage('yard', [Path({str(film)!r})], hold_out={hold_out})\n"
        f"learn_{family}(footage, Path({str(out)!r}), recipe={recipe})\n"
    )
    command = [sys.executable, "-c", program]
    first = subprocess.Popen(command)
    deadline = time.monotonic() + 200
    while not list(out.glob(at)) and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.wait(30)
    assert list(out.iterdir()), "nothing was begun"
    assert not (out / "product").exists()
    assert subprocess.run(command, timeout=250, check=False).returncode == 0


def assert_same_product(out: Path, run: Path) -> None:
    """Every file of both products is the same but the record of the stage."""
    names = _files(run / "product")
    assert len(names) >= 4
    assert names == _files(out / "product")
    for name in names:
        assert (out / "product" / name).read_bytes() == (run / "product" / name).read_bytes(), name


def _files(product: Path) -> set[Path]:
    """Return the files of a product, relative to it, but the record of the stage."""
    return {file.relative_to(product) for file in product.rglob("*") if file.is_file()} - {Path("stage.json")}
