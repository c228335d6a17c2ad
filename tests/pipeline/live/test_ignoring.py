"""Ignore zones in the clips that a camera's watchers hand in: two detectors of one film, each with its own copy."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import av
import numpy as np
import pytest

from operators.background import SceneKind
from operators.chain import ChainSettings
from operators.heat_kind import HeatKind
from operators.zones import Zone
from pipeline.live.camera import DetectorPlan, Watcher
from pipeline.live.listener import Watch
from pipeline.scoring.served_model import HeatMap, ServedModel
from pipeline.sources.base import Fit
from pipeline.sources.files import FileSource
from pipeline.windows import ClipSpec, ClipWindow

WIDTH, HEIGHT = 128, 72
GREY = 90
RIGHT = Zone("road", ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)), ignore=True)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures a second: 1 s of an empty yard, then a white thing on the left, and one that crosses the right."""
    path = tmp_path_factory.mktemp("yard") / "yard.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "bgr0"
        for number in range(40):
            picture = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)
            if number >= 10:
                picture[20:40, 40:52] = 255
                at = 70 + 2 * (number % 20)
                picture[20:40, at : at + 12] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def watched(film: Path, *models: ServedModel) -> list[list[ClipWindow]]:
    """Return the clips that the detectors of one camera hand in."""
    found: list[list[ClipWindow]] = []
    watchers = []
    for served in models:
        plan = DetectorPlan(served.clip, served, lambda _served: ChainSettings())
        watcher = Watcher(Watch("gate"), plan, assembler=cast("Any", None), drift=cast("Any", None), zones=[RIGHT])
        found.append([])
        watcher.port = cast("Any", SimpleNamespace(submit=found[-1].append))
        watchers.append(watcher)
    specs = [served.clip.frame_spec for served in models]
    for item in FileSource("gate", film).frames(specs, threading.Event()):
        for watcher in watchers:
            watcher.take(item)
    return found


@pytest.mark.parametrize("fit", list(Fit))
def test_detectors_that_share_the_frames_see_each_its_own(film: Path, fit: Fit) -> None:
    clip = ClipSpec(frames=4, stride=4, height=36, width=48, fit=fit)
    masked = ServedModel("masked", "1", clip, heat=HeatMap(6, 8, HeatKind.ANOMALY), takes_mask=True)
    attention = ServedModel("attentive", "1", clip, heat=HeatMap(7, 7, HeatKind.ATTENTION))
    with_mask, replaced = watched(film, masked, attention)
    assert len(with_mask) == len(replaced) == 10
    for one, other in zip(with_mask, replaced, strict=True):
        assert one.mask is not None
        # The zone's border is the middle of the clip in each fit.
        assert one.mask[:, 4:].all() or fit is Fit.LETTERBOX
        assert not one.mask[:, :4].any()
        assert other.mask is None
        np.testing.assert_array_equal(one.pixels[:, :, :24], other.pixels[:, :, :24])
        np.testing.assert_array_equal(other.pixels[:, :, 25:], np.stack(4 * [replaced[0].pixels[0, :, 25:]]))
    assert np.ptp(with_mask[5].pixels[:, 5:-5, 25:].astype(int)) > 100  # it is there, and the mask says so
    rows = with_mask[0].mask
    assert rows is not None
    picture_rows = {Fit.LETTERBOX: rows[1:-1]}.get(fit, rows)
    assert picture_rows[:, 4:].all()


@pytest.mark.parametrize("kind", list(SceneKind))
def test_the_scene_that_is_sent_agrees_with_the_pixels(film: Path, kind: SceneKind) -> None:
    clip = ClipSpec(frames=4, stride=4, height=36, width=48)
    (clips,) = watched(film, ServedModel("still", "1", clip, scene=kind))
    for one in clips:
        if one.scene is not None:
            np.testing.assert_array_equal(one.pixels[:, :, 24:], np.stack(4 * [one.scene[:, 24:]]))
        assert not np.ptp(one.pixels[:, :, 24:].astype(int), axis=0).any()  # nothing moves
    assert (clips[-1].scene is not None) == (kind is SceneKind.CLIP)


def test_another_version_gets_what_it_takes(film: Path) -> None:
    clip = ClipSpec(frames=4, stride=4, height=36, width=48)
    plain = ServedModel("mean", "1", clip)
    masked = dataclasses.replace(plain, version="2", heat=HeatMap(6, 8, HeatKind.ANOMALY), takes_mask=True)
    plan = DetectorPlan(clip, plain, lambda _served: ChainSettings())
    watcher = Watcher(Watch("gate"), plan, assembler=cast("Any", None), drift=cast("Any", None), zones=[RIGHT])
    clips: list[ClipWindow] = []
    watcher.port = cast("Any", SimpleNamespace(submit=clips.append))
    for item in FileSource("gate", film).frames([clip.frame_spec], threading.Event()):
        watcher.served = masked if len(clips) in (3, 4) else plain
        watcher.take(item)
    assert [one.mask is not None for one in clips] == [False, False, False, True, True, *(5 * [False])]
