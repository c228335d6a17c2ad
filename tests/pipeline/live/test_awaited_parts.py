"""Parts that are missing at the start: each is asked for until it is used."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from pipeline.live import awaited_parts
from pipeline.live.awaited_parts import AwaitedParts
from pipeline.scoring.served_model import ServedModel
from pipeline.scoring.target import Target
from pipeline.windows import ClipSpec


def test_a_part_whose_use_fails_is_asked_for_again_and_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def served_model(_address: str, model: str, *, part: str) -> ServedModel:
        return ServedModel(f"{model}/{part}", "1", ClipSpec(1, 1, 8, 8))

    asked: list[str] = []

    def on_there(target: Target, _served: ServedModel) -> bool:
        asked.append(target.part)
        if target.part == "gate" and asked.count("gate") < 3:
            raise ZeroDivisionError
        return True

    monkeypatch.setattr(awaited_parts, "served_model", served_model)
    parts = AwaitedParts("127.0.0.1:9", [Target("host", "gate"), Target("host", "yard")], on_there, look_seconds=0.01)
    with capture_logs() as logged:
        parts.start()
        assert parts.wait(20)
    assert asked == ["gate", "yard", "gate", "gate"]
    assert [line["camera"] for line in logged if line["log_level"] == "error"] == ["gate"]
