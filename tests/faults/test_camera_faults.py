"""Cameras that fail in every way, all at once, beside cameras that must not notice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from delivery_counts import count, illegal_alerts, read_messages
from faulty_camera import FaultyCameras
from triton_of_brightness import Server
from watched_fleet import Fleet

from deploy.broker.server import BrokerServer
from pipeline.sources.reconnect import BackoffSettings

pytestmark = [pytest.mark.faults, pytest.mark.waits, pytest.mark.realparts]

#: A camera is watched again within the longest wait between two attempts, the limits of one attempt (open, describe,
#: first packet), and the time that a busy machine takes.
RECOVERY_SECONDS = BackoffSettings().longest + 10.0 + 10.0 + 5.0 + 20.0

PROMISE = "the outage ends by itself; clips and alerts come again; alerts stay legal"


@dataclass(frozen=True)
class Fault:
    """A fault of one camera.

    Attributes:
        text: for the table.
        begin, end: commands to the camera; a name of :class:`FaultyCameras`' methods for a process of its own.
        outage: nothing can come while it lasts; else clips must come while it lasts.
        settings: of the camera in the site.
        before: the command with which the camera starts.
    """

    text: str
    begin: dict[str, Any] | str = field(default_factory=dict)
    end: dict[str, Any] | str = field(default_factory=dict)
    outage: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)


SECRET = {"username": "viewer", "password": "s3cret"}
FAULTS = {
    "killed": Fault("SIGKILL and restart", "kill", "start", outage=True),
    "frozen": Fault("SIGSTOP, SIGCONT", "freeze", "thaw", outage=True),
    "refused": Fault("connections refused", {"listening": False}, {"listening": True}, outage=True),
    "silent": Fault("accepts connections and says nothing", {"silent": True}, {"silent": False}, outage=True),
    "password": Fault(
        "wrong password", {"password": "other", "reset": True}, {"password": "s3cret"},
        outage=True, settings=SECRET, before={"password": "s3cret"},
    ),
    "reset": Fault("connection reset in mid-frame", {"reset": True}),
    "junk": Fault("5 kB of junk in mid-stream", {"junk": True}),
    "lossy": Fault("30 % of packets lost over UDP", {"loss": 0.3}, {"loss": 0.0}, settings={"transport": "udp"}),
    "garbage": Fault("half of the packets are garbage", {"garbage": 0.5}, {"garbage": 0.0}, outage=True),
    "resized": Fault("another resolution in mid-stream", {"film": "large"}, {"film": "h264"}),
    "codec": Fault("another codec in mid-stream (H.264, H.265)", {"film": "hevc"}, {"film": "h264"}),
    "faster": Fault("another frame rate in mid-stream", {"film": "fast"}, {"film": "h264"}),
    "back": Fault("time stamps jump back by an hour", {"stamps": "back"}, {"stamps": "true"}),
    "zero": Fault("time stamps begin at zero again", {"stamps": "zero"}, {"stamps": "true"}),
    "still": Fault("time stamps stand still", {"stamps": "still"}, {"stamps": "true"}),
    "stray": Fault("one time stamp strays by two hours", {"stamps": "stray"}, {"stamps": "true"}),
    "bframes": Fault("B-frames", before={"film": "bframes"}),
    "slow": Fault("1 frame a second", before={"film": "slow"}),
}  # fmt: skip
OWN_PROCESS = ("killed", "frozen")
STEADY = ("steady1", "steady2")
#: The bounded form has a camera that dies and one that says nothing.
BOUNDED = ("killed", "silent")
EACH = [pytest.param(name, marks=[] if name in BOUNDED else pytest.mark.slow) for name in FAULTS]


@dataclass
class Story:
    """All faults at once: which ones, what the cameras did, what has arrived, and when each fault began and ended."""

    faults: dict[str, Fault]
    fleet: Fleet
    messages: list[Any]
    rounds: list[tuple[float, float]]


@pytest.fixture(scope="module")
def unsteered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Triton whose model does not obey the first pixel: among random pixels many would slow it down."""
    server = Server(tmp_path_factory.mktemp("unsteered"))
    (model,) = server.repository.glob("clip_scorer/*/model.py")
    text = model.read_text()
    for steering, plain in (
        ("[clips[:, 0, 0, 0, 2] == 0]", "[:0]"),
        ("score[clips[:, 0, 0, 0, 2] == 255]", "score[:0]"),
    ):
        assert steering in text
        text = text.replace(steering, plain)
    model.write_text(text)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def story(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    unsteered: Server,
    whole: bool,
    until: Callable[..., None],
) -> Iterator[Story]:
    """Every selected fault for 12 s; in the whole form four times more, for 4 s to 90 s: beyond the longest wait."""
    folder = tmp_path_factory.mktemp("fleet")
    here = [item for item in request.session.items if isinstance(item, pytest.Function) and item.path == request.path]
    selected = {item.callspec.params["name"] for item in here}
    faults = {name: fault for name, fault in FAULTS.items() if name in selected}
    shared = FaultyCameras([name for name in faults if name not in OWN_PROCESS] + list(STEADY))
    groups = {name: FaultyCameras([name]) if name in OWN_PROCESS else shared for name in [*faults, *STEADY]}
    rounds: list[tuple[float, float]] = []
    with ExitStack() as stack:
        broker = stack.enter_context(BrokerServer(folder / "broker"))
        for group in dict.fromkeys(groups.values()):
            stack.enter_context(group)
        for name, fault in faults.items():
            groups[name].steer(name, **fault.before)
        cameras: dict[str, dict[str, Any]] = {name: {"source": group.url(name)} for name, group in groups.items()}
        for name, fault in faults.items():
            cameras[name] |= fault.settings
        for name in STEADY:  # a busy machine may be slow; the camera is not silent
            cameras[name] |= {"read_timeout_seconds": 60}
        fleet = stack.enter_context(Fleet(folder, unsteered.address, broker.bootstrap, cameras))
        for lasts in (12.0, 4.0, 30.0, 90.0, 8.0) if whole else (12.0,):
            since = time.monotonic()
            for name in cameras:
                until(lambda name=name, since=since: fleet.notes[name].first_clip_after(since), f"{name} is watched")
            began = time.monotonic()
            for name, fault in faults.items():
                _steer(groups[name], name, fault.begin)
            time.sleep(lasts)
            ended = time.monotonic()
            for name, fault in faults.items():
                _steer(groups[name], name, fault.end)
            rounds.append((began, ended))
            for name in cameras:
                until(
                    lambda name=name, ended=ended: fleet.notes[name].first_clip_after(ended),
                    f"{name} is watched again; outages: {fleet.notes[name].outages}",
                    RECOVERY_SECONDS + 60,
                )
        for name in cameras:
            since = 0.0 if name == "slow" else rounds[-1][1]  # at 1 fps there is an alert every 24 s
            until(
                lambda name=name, since=since: max(fleet.notes[name].begun, default=0.0) > since,
                f"{name} raises an alert",
            )
        fleet.close()
        yield Story(faults, fleet, read_messages(broker.bootstrap), rounds)


def _steer(group: FaultyCameras, name: str, command: dict[str, Any] | str) -> None:
    if isinstance(command, str):
        getattr(group, command)()
    elif command:
        group.steer(name, **command)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", EACH)
def test_a_camera_is_watched_again_by_itself(story: Story, name: str, record: Callable[..., None]) -> None:
    """Promise 1, and legal alerts through it."""
    fault, notes = FAULTS[name], story.fleet.notes[name]
    messages = [message for message in story.messages if message.camera == name]
    counts = count([(name, identity) for identity in notes.accepted], messages)
    recoveries = []
    for began, ended in story.rounds:
        if fault.begin and not fault.outage:
            recoveries.append(_recovery(notes.first_clip_after(began), began))
        if fault.end:
            recoveries.append(_recovery(notes.first_clip_after(ended), ended))
    assert all(seconds <= RECOVERY_SECONDS for seconds in recoveries), recoveries
    if fault.outage and name != "garbage":
        for began, ended in story.rounds:
            during = [code for at, code in notes.outages if began < at < ended + RECOVERY_SECONDS]
            assert during, "the outage was not noticed"
    assert not illegal_alerts(messages)
    assert counts.accepted == len(notes.accepted) > 0
    assert (counts.missing, counts.disordered, counts.unlogged, story.fleet.left) == (0, 0, 0, 0)
    codes = sorted({code for _, code in notes.outages})
    record(
        f"camera: {fault.text}",
        PROMISE,
        counts.accepted,
        counts.arrived,
        counts.duplicates,
        max(recoveries, default=None),
        f"{len(notes.clips)} clips, outages: {len(notes.outages)}{' (' + ', '.join(codes) + ')' if codes else ''}",
    )


def _recovery(first_clip: float | None, since: float) -> float:
    assert first_clip is not None, "no clip came again"
    return first_clip - since


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", STEADY)
def test_the_other_cameras_lose_nothing(story: Story, name: str, record: Callable[..., None]) -> None:
    """Promise 1, its second half: of the cameras beside the failing ones every clip is there."""
    notes = story.fleet.notes[name]
    messages = [message for message in story.messages if message.camera == name]
    counts = count([(name, identity) for identity in notes.accepted], messages)
    assert not notes.outages
    assert [reason for reason in notes.dropped if reason != "shutdown"] == []
    assert notes.holes() == 0
    assert not illegal_alerts(messages)
    assert (counts.missing, counts.disordered, counts.duplicates) == (0, 0, 0)
    record(
        f"a sound camera beside {len(story.faults)} failing ones",
        "other cameras lose nothing: every clip in one segment, none dropped, no hole",
        counts.accepted,
        counts.arrived,
        counts.duplicates,
        None,
        f"{len(notes.clips)} clips, 0 missing",
    )
