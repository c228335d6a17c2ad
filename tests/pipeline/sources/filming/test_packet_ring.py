"""The ring of packets: limits that hold, groups of pictures that stay whole, and places of times."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.filming.orders import RingLimits
from pipeline.sources.filming.packet_ring import PacketRing, Place
from pipeline.sources.filming.packet_stamps import Stamped
from pipeline.sources.filming.stream_shape import StreamShape

SHAPE = StreamShape("h264", b"", Fraction(1, 1000))
EVERY = 100  #: units from packet to packet


def packet(number: int, *, key: bool, size: int = 10, dts: int | None = None) -> Stamped:
    at = number * EVERY if dts is None else dts
    return Stamped(bytes([number % 251]) * size, at, at, EVERY, key, at, number * EVERY / 1000)


def filled(count: int, *, gop: int, most_bytes: int = 10**6, most_seconds: float = 1e6) -> PacketRing:
    ring = PacketRing(RingLimits(most_bytes, most_seconds))
    ring.begin(SHAPE)
    for number in range(count):
        ring.add(packet(number, key=number % gop == 0))
    return ring


packets = st.lists(st.tuples(st.booleans(), st.integers(1, 400)), max_size=120)


@given(packets, st.integers(100, 3000), st.floats(0.1, 12.0))
def test_the_limit_of_bytes_holds_and_the_newest_packets_stay(
    stream: list[tuple[bool, int]], most_bytes: int, most_seconds: float
) -> None:
    ring = PacketRing(RingLimits(most_bytes, most_seconds))
    ring.begin(SHAPE)
    added: list[Stamped] = []
    for number, (key, size) in enumerate(stream):
        one = packet(number, key=key, size=size)
        ring.add(one)
        if added or key:
            added.append(one)
        assert ring.bytes <= most_bytes
        kept = [found.packet for found in ring.read(0, 1, 0.0) or []]
        assert kept == added[len(added) - len(kept) :]
        assert ring.bytes == sum(len(found.data) for found in kept)


@given(st.integers(1, 30), st.integers(1, 200), st.floats(0.2, 8.0))
def test_what_is_young_enough_stays_with_the_key_frame_before_it(gop: int, count: int, most_seconds: float) -> None:
    ring = filled(count, gop=gop, most_seconds=most_seconds)
    newest = (count - 1) * EVERY / 1000
    wanted = max(0.0, newest - most_seconds)
    first = ring.key_at(Place(1, wanted))
    assert first is not None
    assert first.packet.is_key
    assert first.packet.pts <= wanted * 1000 + 1e-6
    assert ring.forgotten_early == 0


def test_old_packets_go_by_whole_groups_of_pictures() -> None:
    kept = filled(100, gop=10, most_seconds=1.55).read(0, 1, 0.0)
    assert kept is not None
    assert kept[0].packet.is_key
    assert kept[0].packet.pts == 80 * EVERY


def test_packets_that_are_forgotten_for_their_bytes_are_counted() -> None:
    ring = filled(30, gop=10, most_bytes=250)
    assert ring.forgotten_early == 10


def test_a_group_of_pictures_beyond_the_limit_keeps_its_end_for_the_films_that_read_it() -> None:
    ring = filled(60, gop=1000, most_bytes=250)
    assert ring.key_at(Place(1, 0.0)) is None
    kept = ring.read(40, 1, 0.0)
    assert kept is not None
    assert [one.ordinal for one in kept] == list(range(40, 60))
    ring.add(packet(60, key=True))
    first = ring.key_at(Place(1, 0.0))
    assert first is not None
    assert first.packet.pts == 60 * EVERY


def test_a_jump_of_the_clock_begins_another_generation_at_the_next_key_frame() -> None:
    ring = filled(20, gop=10)
    ring.add(packet(20, key=False, dts=900_000))
    ring.add(packet(21, key=True, dts=900_100))
    assert ring.read(20, 1, 0.0) is None
    later = ring.read(20, 2, 0.0)
    assert later is not None
    assert [one.packet.dts for one in later] == [900_100]
    assert len(ring.read(0, 1, 0.0) or []) == 20


def test_another_connection_is_another_generation_and_the_first_one_ends() -> None:
    ring = filled(20, gop=10)
    ring.end()
    assert ring.read(20, 1, 0.0) is None
    ring.add(packet(20, key=True))
    ring.begin(SHAPE)
    ring.add(packet(21, key=False))
    ring.add(packet(22, key=True))
    found = ring.read(0, 2, 0.0)
    assert found is not None
    assert [one.packet.dts for one in found] == [22 * EVERY]


def test_slices_of_a_picture_that_repeat_its_time_are_kept_in_order() -> None:
    ring = filled(3, gop=10)
    ring.add(packet(3, key=False, dts=2 * EVERY))
    kept = ring.read(0, 1, 0.0)
    assert kept is not None
    assert [one.packet.dts for one in kept] == [0, EVERY, 2 * EVERY, 2 * EVERY + 1]


def test_a_time_of_a_segment_has_the_place_of_its_frame() -> None:
    """The segment's clock may be another one than that of the packets, such as the time of arrival."""
    ring = filled(20, gop=10)
    for number in range(5, 15):
        ring.note("s", 100.0 + number, number * EVERY)
    assert ring.place("s", 107.0) == Place(1, pytest.approx(0.7))
    assert ring.place("s", 104.0) == Place(1, pytest.approx(0.5 - 1.0))
    assert ring.place("other", 107.0) is None


def test_places_are_forgotten_with_their_packets() -> None:
    ring = filled(10, gop=10)
    ring.note("s", 1.0, 5 * EVERY)
    for number in range(10, 12):
        ring.add(packet(number, key=True, size=10**6 - 50))
    assert ring.place("s", 1.0) is None
