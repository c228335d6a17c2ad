"""The option --tls of the commands that take a camera's address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.options import camera_tls
from pipeline.settings import CameraTlsSettings

DIGEST = "ab" * 32


@pytest.mark.parametrize(
    ("option", "settings"),
    [
        (None, {}),
        ("any", {"verify": False}),
        ("camera.pem", {"ca": "camera.pem"}),
        (DIGEST, {"fingerprint": DIGEST}),
        (":".join(["AB"] * 32), {"fingerprint": ":".join(["AB"] * 32)}),
        (f"SHA256:{DIGEST}", {"fingerprint": f"SHA256:{DIGEST}"}),
        ("abab", {"ca": "abab"}),
    ],
)
def test_the_option_is_a_file_a_fingerprint_or_any(option: str | None, settings: dict[str, Any]) -> None:
    assert camera_tls(option) == settings
    made = CameraTlsSettings(**settings).verification()
    assert made.verify is (option != "any")
    assert made.pinned in ("", DIGEST)
    assert made.ca in (None, Path(option or ""))
