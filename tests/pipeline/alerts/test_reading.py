"""Why a document cannot be read, in a line for people."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from pipeline.alerts.reading import explain_unreadable, read_event


def test_a_reason_that_quotes_the_document_is_safe_for_a_terminal() -> None:
    document = {"type": "mistwatch.alert.begin", "data": {"alert_id": "\x1b[2J"}}
    with pytest.raises(ValidationError) as caught:
        read_event(json.dumps(document))
    reasons = [each["msg"] for each in caught.value.errors()]
    assert any("\x1b" in reason for reason in reasons), "pydantic quotes it"
    assert explain_unreadable(caught.value).isprintable()
