"""The objects that are due for removal: the oldest beyond the quota, and those that are too old."""

from __future__ import annotations

from pipeline.alerts.stored_stock import StoredStock

NEVER = float("-inf")


def stock_of(*objects: tuple[str, int, float]) -> StoredStock:
    stock = StoredStock()
    for each in objects:
        stock.note(*each)
    return stock


def test_the_oldest_beyond_the_quota_are_due_in_whatever_order_they_came() -> None:
    stock = stock_of(("new", 10, 3.0), ("old", 10, 1.0), ("middle", 10, 2.0))
    assert stock.due(30, NEVER, 9) == []
    assert stock.due(29, NEVER, 9) == ["old"]
    assert stock.due(10, NEVER, 9) == ["old", "middle"]
    assert stock.due(0, NEVER, 2) == ["old", "middle"], "no more than are asked for"


def test_objects_are_due_until_they_are_forgotten() -> None:
    stock = stock_of(("old", 10, 1.0), ("new", 10, 3.0))
    assert stock.due(100, 2.0, 9) == stock.due(100, 2.0, 9) == ["old"]
    stock.forget("old")
    assert stock.due(100, 2.0, 9) == []
    assert stock.due(9, 2.0, 9) == ["new"]


def test_a_new_version_counts_once_with_its_own_age() -> None:
    stock = stock_of(("peak", 10, 1.0), ("other", 10, 2.0), ("peak", 20, 3.0))
    assert stock.due(30, NEVER, 9) == []
    assert stock.due(29, NEVER, 9) == ["other"]
    assert stock.due(30, 2.5, 9) == ["other"]
    stock.note("peak", 20, 3.0)
    assert stock.due(0, NEVER, 9) == ["other", "peak"]
