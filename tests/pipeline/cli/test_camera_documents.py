"""Settings of ``mistwatch cameras add`` that YAML cannot read: one line and status 2, before a broker is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from in_process import called

NO_BROKER = ("--bootstrap", "127.0.0.1:1")


@pytest.mark.parametrize(
    "content",
    [
        "source: 2020-13-45\n",
        "source: !!bool maybe\n",
        "source: " + "[" * 1200 + "]" * 1200,
        "- " * 1200 + "a",
        "source: rtsp://192.0.2.7/a\nsource: rtsp://192.0.2.7/b\n",
    ],
    ids=["no such date", "no such value", "brackets", "dashes", "a key twice"],
)
def test_a_file_that_is_not_yaml_is_one_line(content: str, tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text(content)
    status, _, problem = called("cameras", "add", "gate", "--file", file, *NO_BROKER)
    assert status == 2
    assert f"{file}: not valid YAML; expected a camera's settings" in problem
    assert problem.count("\n") == 1


@pytest.mark.parametrize("value", ["2020-13-45", "[" * 1200])
def test_a_value_that_is_not_yaml_is_taken_as_text(value: str) -> None:
    change = ("--set", f"start_time={value}")
    status, _, problem = called("cameras", "add", "gate", "rtsp://192.0.2.7/a", *change, *NO_BROKER)
    assert status == 2
    assert "camera gate: start_time: " in problem
    assert problem.count("\n") == 1
