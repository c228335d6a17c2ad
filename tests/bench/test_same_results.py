"""Comparisons of ``bench/same_results.py``: equal results pass, each kind of change is found and named."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path

import pytest

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

ALERT = {
    "id": "a/0",
    "data": {"camera": "gate", "sequence": 0, "ended_at": None, "scores": [{"index": 4, "score": 0.916621}]},
}
SCORES = pa.table(
    {
        "video": pa.array(["gate", "gate", "yard"]),
        "index": pa.array([0, 1, 0], pa.int32()),
        "score": pa.array([0.25, 0.5, 0.75], pa.float32()),
        "smoothed": pa.array([0.25, 0.375, 0.75], pa.float32()),
    }
)


@pytest.fixture(scope="module")
def differences(load):
    return load("differences")


def alert(**changes: object) -> dict:
    """The alert, with other values by their names in it."""
    changed = copy.deepcopy(ALERT)
    changed["data"].update(changes)
    return changed


def test_an_equal_document_has_no_differences(differences) -> None:
    found = differences.document_differences([ALERT], [alert()])
    assert (found.changed, found.added) == ((), frozenset())
    assert found.within(frozenset())
    assert str(found) == ""


def test_a_new_field_is_named_and_passes_only_if_it_is_allowed(differences) -> None:
    found = differences.document_differences([ALERT, ALERT], [alert(detector="fights"), alert(detector="fights")])
    assert (found.changed, found.added) == ((), {"data.detector"})
    assert found.within(frozenset({"data.detector"}))
    assert not found.within(frozenset())
    assert str(found) == "new: data.detector"


@pytest.mark.parametrize(
    ("new", "line"),
    [
        ([alert(camera="yard")], '[0].data.camera: "yard", not "gate"'),
        ([alert(sequence=0.0)], "[0].data.sequence: 0.0, not 0"),
        ([alert(sequence=False)], "[0].data.sequence: false, not 0"),
        ([alert(ended_at="2024-05-01")], '[0].data.ended_at: "2024-05-01", not null'),
        ([alert(scores=[{"index": 4, "score": 0.916622}])], "[0].data.scores[0].score: 0.916622, not 0.916621"),
        ([alert(scores=[])], "[0].data.scores: 0 items, not 1"),
        ([{"id": "a/0"}], "[0].data is missing"),
        ([], ": 0 items, not 1"),
    ],
)
def test_a_changed_value_is_named_with_its_place(differences, new: list[dict], line: str) -> None:
    found = differences.document_differences([ALERT], new)
    assert found.changed == (line,)
    assert not found.within(frozenset({"data.detector"}))


def test_floats_may_differ_by_the_tolerance_and_nothing_else_may(differences) -> None:
    old, new = {"score": 0.5, "index": 4}, {"score": 0.5 + 1e-6, "index": 5}
    found = differences.document_differences(old, new, tolerance=2e-6)
    assert found.changed == ("index: 5, not 4",)


def test_a_note_names_the_first_differences(differences) -> None:
    found = differences.document_differences({"scores": [1, 2, 3, 4, 5]}, {"scores": [2, 3, 4, 5, 6]})
    assert str(found) == "scores[0]: 2, not 1; scores[1]: 3, not 2; scores[2]: 4, not 3; and 2 more"


def with_column(name: str, values: list, kind: object) -> object:
    return SCORES.set_column(SCORES.column_names.index(name), name, pa.array(values, kind))


def test_equal_tables_may_gain_a_column(differences) -> None:
    new = SCORES.append_column("detector", pa.array(["fights"] * 3))
    found = differences.table_differences(SCORES, new)
    assert (found.changed, found.added) == ((), {"detector"})


@pytest.mark.parametrize(
    ("column", "values", "kind", "line"),
    [
        ("score", [0.25, 0.50000006, 0.75], pa.float32(), "score of row 1 is 0.5000000596046448, not 0.5"),
        ("score", [0.25, float("nan"), 0.75], pa.float32(), "score of row 1 is nan, not 0.5"),
        ("index", [0, 2, 1], pa.int32(), "index of row 1 is 2, not 1 (1 more rows)"),
        ("video", ["gate", "gate", "gate"], pa.string(), "video of row 2 is gate, not yard"),
        ("score", [0.25, 0.5, 0.75], pa.float64(), "column score is double, not float"),
    ],
)
def test_a_changed_score_is_found_to_the_last_bit(differences, column, values, kind, line: str) -> None:
    assert differences.table_differences(SCORES, with_column(column, values, kind)).changed == (line,)


def test_a_table_without_a_row_or_a_column_is_another_one(differences) -> None:
    assert differences.table_differences(SCORES, SCORES.slice(1)).changed == ("2 rows, not 3",)
    assert differences.table_differences(SCORES, SCORES.drop_columns(["smoothed"])).changed == (
        "column smoothed is missing",
    )


def test_the_tolerance_is_the_largest_difference_of_two_replays(differences) -> None:
    again = with_column("score", [0.25, 0.5, 0.75 - 2**-20], pa.float32())
    assert differences.tolerance_between(SCORES, SCORES) == 0.0
    tolerance = differences.tolerance_between(SCORES, again)
    assert tolerance == 2**-20
    assert differences.table_differences(SCORES, again, tolerance=tolerance).changed == ()
    assert differences.table_differences(SCORES, again, tolerance=tolerance / 2).changed != ()
    far = with_column("score", [0.25, 0.5, 0.7], pa.float32())
    other_clips = with_column("index", [0, 1, 1], pa.int32())
    assert [differences.tolerance_between(SCORES, one) for one in (far, other_clips, SCORES.slice(1))] == [0.0] * 3


def message(differences, sequence: int, camera: str = "gate", **fields: object):
    value = json.dumps({"id": f"a/{sequence}", "data": {"camera": camera, **fields}}).encode()
    return differences.Message(camera.encode(), value, (("ce_id", f"a/{sequence}".encode()),))


def test_messages_keep_their_order_within_a_camera(differences) -> None:
    first, second, other = (
        message(differences, 0),
        message(differences, 1),
        message(differences, 0, "yard"),
    )
    assert differences.message_differences([first, second, other], [other, first, second]).changed == ()
    swapped = differences.message_differences([first, second], [second, first])
    assert len(swapped.changed) == 4  # headers and bytes of both
    assert differences.message_differences([first, second], [first]).changed == ("gate: 1 messages, not 2",)
    assert differences.message_differences([first], [first, other]).changed == ("yard: 1 messages, not 0",)


def test_a_message_with_a_new_field_has_other_bytes(differences) -> None:
    found = differences.message_differences([message(differences, 0)], [message(differences, 0, detector=None)])
    assert found.changed == ("gate, message 0: other bytes (new: data.detector)",)
    assert found.added == {"data.detector"}


def test_the_time_of_sending_is_no_part_of_a_message(differences) -> None:
    sent = b'{"data":{"scored_at":"2024-05-01T16:00:00Z","published_at":"2024-05-01T16:00:01Z"}}'
    waiting = b'{"data":{"scored_at":"2024-05-01T16:00:00Z","published_at":null}}'
    assert differences.masked(sent) == differences.masked(waiting) == waiting


def test_events_that_are_no_alerts_are_passed_over(load, tmp_path: Path) -> None:
    """A replay with a detector of one camera, which drifts."""
    parquet.write_table(SCORES, tmp_path / "scores.parquet")
    (tmp_path / "videos.jsonl").write_text("")
    (tmp_path / "run.json").write_text("{}")
    kinds = ("alert.begin", "drift", "alert.update", "alert.end", "drift")
    lines = [json.dumps({"type": f"mistwatch.{kind}", "id": str(number)}) for number, kind in enumerate(kinds)]
    (tmp_path / "alerts.jsonl").write_text("".join(f"{line}\n" for line in lines))
    found = load("same_results").RunFolder(tmp_path)
    assert [one["id"] for one in found.alerts] == ["0", "2", "3"]
    assert found.alert_lines == [lines[0], lines[2], lines[3]]
    assert found.events() == "3 events (1 begin, 1 update, 1 end)"


def test_a_command_that_fails_is_a_difference(load) -> None:
    same_results = load("same_results")

    class Broken:
        def films(self):
            yield same_results.Check("first", "1", "1", True)
            raise same_results.CommandFailed("present: python -m pipeline.cli … ended with status 2: no such file")

    same_results.CHECKS["films"] = Broken.films
    first, failed = same_results.checked("films", Broken())
    assert first.same is True
    assert failed.same is False
    assert "status 2" in failed.note


def test_the_page_says_which_results_differ(load) -> None:
    same_results = load("same_results")
    checks = [
        same_results.Check("cctv: scores", "233 clips", "233 clips", True),
        same_results.Check("cctv: alerts", "2 events", "3 events", False, 'x: "a|b", not "a"'),
        same_results.Check("whole training", "dbc9d4a4f4de", "–", None, "not asked for"),
    ]
    found = {
        "base": "d36fc77ad85e" + 28 * "0",
        "present": "0123456-dirty",
        "machine": {"cores": 2},
        "versions": {"torch": "2.15.0"},
        "seconds": 600,
        "checks": [dataclasses.asdict(check) for check in checks],
    }
    page = same_results.page(json.loads(json.dumps(found)))
    assert page.startswith("# The same results as d36fc77\n")
    assert "| cctv: scores | 233 clips | 233 clips | same |  |" in page
    assert '| cctv: alerts | 2 events | 3 events | **different** | x: "a\\|b", not "a" |' in page
    assert "| whole training | dbc9d4a4f4de | – | not run | not asked for |" in page


def test_the_committed_page_is_of_the_committed_figures(load, root: Path) -> None:
    results = root / "bench" / "results"
    figures = json.loads((results / "same_results.json").read_text(encoding="utf-8"))
    assert load("same_results").page(figures) == (results / "same_results.md").read_text(encoding="utf-8")
