"""Times of packets: those that FFmpeg leaves out at the start of a connection, and those in its middle."""

from __future__ import annotations

from pipeline.sources.filming.packet_stamps import PacketStamps, RawPacket

EVERY = 3600


def raw(pts: int | None, dts: int | None, *, duration: int = EVERY) -> RawPacket:
    return RawPacket(b"x", pts, dts, duration, False, 0.0)


def times(stamps: PacketStamps, *packets: RawPacket) -> list[tuple[int, int]]:
    return [(one.pts, one.dts) for packet in packets for one in stamps.take(packet)]


def test_the_first_packet_of_a_connection_has_the_time_before_the_second() -> None:
    assert times(PacketStamps(EVERY), raw(None, None), raw(3600, 3600), raw(7200, 7200)) == [
        (0, 0),
        (3600, 3600),
        (7200, 7200),
    ]


def test_decoding_times_are_filled_in_backwards_where_pictures_are_reordered() -> None:
    """As FFmpeg gives them for an RTSP camera with two B-frames: shown 0, 3, 1, 2."""
    given = [raw(None, None), raw(7200, None), raw(3600, None), raw(18000, 3600), raw(10800, 7200)]
    found = times(PacketStamps(EVERY), *given)
    assert found == [(0, -7200), (7200, -3600), (3600, 0), (18000, 3600), (10800, 7200)]


def test_packets_without_durations_have_the_period_of_the_stream() -> None:
    found = times(PacketStamps(900), raw(None, None, duration=0), raw(5000, 5000, duration=0))
    assert found == [(4100, 4100), (5000, 5000)]


def test_a_packet_without_times_in_the_middle_follows_the_one_before() -> None:
    found = times(PacketStamps(EVERY), raw(3600, 3600), raw(None, None), raw(7200, 7200))
    assert found == [(3600, 3600), (3601, 3601), (7200, 7200)]


def test_packets_wait_for_a_time_in_bounded_number() -> None:
    stamps = PacketStamps(EVERY)
    assert times(stamps, *[raw(None, None)] * 500) == []
    assert len(stamps.take(raw(10**7, 10**7))) == 65
