"""A folder of features: a file a video, of one setting, whole whatever ended the run before."""

from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import pytest
from gray_films import mean_grey, write_film

from models.data.contrast import Contrast
from models.data.extraction import Engine, FeaturesError
from models.data.feature_folder import (
    INDEX,
    FeatureSettings,
    FeatureSettingsError,
    OtherFeatures,
    read_index,
    write_features,
)
from pipeline.windows import ClipSpec, StoredClip

CLIP = ClipSpec(frames=4, stride=2, height=32, width=48)
SETTINGS = FeatureSettings.for_clip(CLIP, engine="mean-grey")
ENGINE = mean_grey(1024)


@pytest.fixture
def films(tmp_path):
    """Frames of 0, 10 … 90; three frames; nine of 200. The clips' means: 15, 35, 55, 75; none; 200 three times."""
    return [
        write_film(tmp_path / "ramp.mkv", range(0, 100, 10)),
        write_film(tmp_path / "short.mkv", [7, 7, 7]),
        write_film(tmp_path / "bright.mkv", [200] * 9),
    ]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "features"


def contents(folder):
    """Every file but the lock, by name."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != ".lock"}


def test_a_file_a_video_and_what_it_holds(films, out):
    result = write_features(films, out, SETTINGS, engine=ENGINE)
    assert (result.computed, result.kept, result.clips, result.short) == (3, 0, 7, [films[1]])
    index = read_index(out)
    assert index.settings == SETTINGS
    by_name = {entry.file.rsplit("-", 1)[0]: entry for entry in index.videos}
    values = {name: np.load(out / entry.file) for name, entry in by_name.items()}
    assert {name: (array.shape, array.dtype) for name, array in values.items()} == {
        "ramp": ((4, 1024), np.float32), "short": ((0, 1024), np.float32), "bright": ((3, 1024), np.float32),
    }  # fmt: skip
    assert values["ramp"][:, 0].tolist() == values["ramp"][:, -1].tolist() == [15, 35, 55, 75]
    ramp = by_name["ramp"]
    assert ramp.path == str(films[0])
    assert ramp.segments == [0] * 4
    np.testing.assert_allclose(ramp.starts, [0, 0.08, 0.16, 0.24], atol=1e-3)  # Matroska counts milliseconds
    np.testing.assert_allclose(ramp.ends, [0.16, 0.24, 0.32, 0.4], atol=1e-3)
    assert sorted(contents(out)) == sorted([INDEX, *(entry.file for entry in index.videos)])


def test_ten_crops_are_an_axis(films, out):
    settings = FeatureSettings.for_clip(CLIP, crops=10, engine="mean-grey")
    assert settings.crop_from == (37, 73)  # 32 · 256/224 and 48 · 340/224
    write_features(films[:1], out, settings, engine=ENGINE)
    (entry,) = read_index(out).videos
    values = np.load(out / entry.file)
    assert values.shape == (4, 10, 1024)
    np.testing.assert_allclose(values[:, :, 0], np.repeat([[15], [35], [55], [75]], 10, 1), atol=1)


def test_what_is_there_is_kept_and_what_is_damaged_is_mended(films, out):
    write_features(films, out, SETTINGS, engine=ENGINE)
    whole = contents(out)
    again = write_features(films, out, SETTINGS, engine=refusing())
    assert (again.computed, again.kept, again.clips, again.short) == (0, 3, 7, [films[1]])
    assert contents(out) == whole
    ramp = next(out.glob("ramp-*.npy"))
    ramp.write_bytes(whole[ramp.name][:-10])
    mended = write_features(films, out, SETTINGS, engine=ENGINE)
    assert (mended.computed, mended.kept) == (1, 2)
    assert contents(out) == whole


def refusing():
    """An engine that nobody is to ask."""

    def encode(_clips):
        raise AssertionError("computed again")

    return Engine("mean-grey", 1, encode)


def test_a_changed_video_is_another(films, out):
    write_features(films, out, SETTINGS, engine=ENGINE)
    write_film(films[0], [100] * 6)
    result = write_features(films, out, SETTINGS, engine=ENGINE)
    assert (result.computed, result.kept, result.clips) == (1, 2, 2 + 3)
    assert len(read_index(out).videos) == 4


def test_videos_of_one_name_do_not_meet(films, out, tmp_path):
    (tmp_path / "other").mkdir()
    namesake = write_film(tmp_path / "other" / "ramp.mkv", [1] * 4)
    result = write_features([films[0], namesake, films[0]], out, SETTINGS, engine=ENGINE)
    assert result.computed == 2
    assert sorted(float(np.load(file)[0, 0]) for file in out.glob("ramp-*.npy")) == [1, 15]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"clip": StoredClip.from_spec(ClipSpec(4, 4, 32, 48))}, "clip.stride is 2 there, not 4"),
        ({"clip": StoredClip.from_spec(ClipSpec(4, 2, 32, 48, fps=10))}, "clip.fps is native there, not 10.0"),
        ({"layers": ("mixed_4f",)}, "layers is ['mixed_5c'] there, not ['mixed_4f']"),
        ({"tensors_sha256": "0" * 64}, f"tensors_sha256 is {SETTINGS.tensors_sha256} there, not {'0' * 64}"),
        ({"engine": "cuda"}, "engine is mean-grey there, not cuda"),
        ({"crops": 10, "crop_from": (37, 73)}, "crops is 1 there, not 10, crop_from is None there, not [37, 73]"),
        ({"contrast": Contrast()}, "contrast.scene is None there, not clip"),
        ({"mirrored": True}, "mirrored is False there, not True"),
    ],
)
def test_other_settings_are_refused(films, out, changed, words):
    write_features(films[:1], out, SETTINGS, engine=ENGINE)
    before = contents(out)
    with pytest.raises(OtherFeatures) as refused:
        write_features(films, out, SETTINGS.model_copy(update=changed), engine=refusing())
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert contents(out) == before


def test_features_that_nobody_explains_are_refused(films, out):
    out.mkdir()
    np.save(out / "ramp.npy", np.zeros((4, 1024)))
    with pytest.raises(OtherFeatures, match=r"holds \.npy files and no index\.json"):
        write_features(films, out, SETTINGS, engine=refusing())
    (out / INDEX).write_text("{")
    with pytest.raises(OtherFeatures, match=r"index\.json: cannot be used"):
        write_features(films, out, SETTINGS, engine=refusing())


def test_one_writer_at_a_time(films, out):
    def meddle(clips):
        with pytest.raises(OtherFeatures, match="another process is writing"):
            write_features(films, out, SETTINGS, engine=refusing())
        return ENGINE.encode(clips)

    assert write_features(films[2:], out, SETTINGS, engine=Engine("mean-grey", 1, meddle)).computed == 1


def test_bad_videos_are_refused_before_anything_is_computed(films, out, tmp_path):
    bad = [tmp_path / f"bad{n}.mkv" for n in range(12)]
    for file in bad:
        file.write_bytes(b"noise" * 100)
    with pytest.raises(FeaturesError) as refused:
        write_features([*films, *bad], out, SETTINGS, engine=refusing())
    lines = str(refused.value).splitlines()
    assert len(lines) == 11
    assert all(f"bad{n}.mkv" in line for n, line in enumerate(lines[:10]))
    assert lines[10] == "2 more videos"


def test_bad_videos_can_be_left_out(films, out, tmp_path):
    (tmp_path / "noise.mkv").write_bytes(b"noise" * 100)
    videos = [films[0], tmp_path / "noise.mkv", tmp_path / "none.mkv", films[2]]
    result = write_features(videos, out, SETTINGS, engine=ENGINE, skip_bad=True)
    assert (result.computed, result.clips) == (2, 7)
    assert ["noise.mkv" in line or "none.mkv: no such file" in line for line in result.skipped] == [True, True]
    assert [entry.file.split("-")[0] for entry in read_index(out).videos] == ["bright", "ramp"]


def nan_at(grey):
    """Mean grey, but for the clip of which it is ``grey``."""

    def encode(clips):
        (means,) = ENGINE.encode(clips)
        means[np.isclose(means, grey)] = np.nan
        return (means,)

    return Engine("mean-grey", 1, encode)


def test_numbers_that_are_none_are_refused_and_nothing_of_them_is_left(films, out):
    with pytest.raises(FeaturesError, match=r"ramp\.mkv: the clip at 0\.08 s gives NaN"):
        write_features(films, out, SETTINGS, engine=nan_at(35))
    assert list(contents(out)) == [INDEX]
    result = write_features(films, out, SETTINGS, engine=nan_at(35), skip_bad=True)
    assert (result.computed, len(result.skipped)) == (2, 1)
    assert not list(out.glob("*ramp*"))
    assert not list(out.glob(".ramp*"))


def test_what_was_done_before_a_failure_is_not_done_again(films, out):
    with pytest.raises(FeaturesError):
        write_features(films, out, SETTINGS, engine=nan_at(200))  # the last film's
    result = write_features(films, out, SETTINGS, engine=ENGINE)
    assert (result.computed, result.kept) == (1, 2)


def test_a_full_disk_leaves_nothing_that_counts(films, out, file_size_limit):
    with file_size_limit(14_000), pytest.raises(OSError, match="File too large"):  # three clips' fit, four are 16 KB
        write_features(films[::-1], out, SETTINGS, engine=ENGINE)
    assert sorted(name.split("-")[0] for name in contents(out)) == ["bright", INDEX, "short"]
    result = write_features(films, out, SETTINGS, engine=ENGINE)
    assert (result.computed, result.kept) == (1, 2)


def test_progress_is_seconds_of_video(tmp_path, out):
    long = write_film(tmp_path / "long.mkv", [0] * 100)
    short = write_film(tmp_path / "two.mkv", [1] * 50)
    told = []
    write_features([long], out, SETTINGS, engine=ENGINE)
    write_features([long, short], out, SETTINGS, engine=ENGINE, progress=lambda *now: told.append(now))
    dones, totals, videos = zip(*told, strict=True)
    assert min(totals) == max(totals) == pytest.approx(6, abs=0.1)
    assert dones[0] == pytest.approx(4, abs=0.1)  # that is there already
    assert dones[1] == pytest.approx(4.16, abs=0.1)  # the first clip of the other
    assert list(dones) == sorted(dones)
    assert dones[-1] == totals[-1]
    assert (videos[0], videos[-1]) == (1, 2)


SLOW = """
import sys, time
sys.path.insert(0, {support!r}); sys.path.insert(0, {here!r})
from pathlib import Path
import test_feature_folder as t
from models.data.extraction import Engine
def slow(clips):
    print(clips.mean(), flush=True)
    time.sleep(0.2)
    return t.ENGINE.encode(clips)
films = [Path(film) for film in {films!r}]
t.write_features(films, Path({out!r}), t.SETTINGS, engine=Engine("mean-grey", 1, slow))
"""


def test_killed_in_the_middle_it_goes_on(films, out, tmp_path, root):
    """The first film is whole, and the index does not know yet, unless the machine is slow; the third is half done."""
    support, here = str(root / "tests" / "support"), str(root / "tests" / "models" / "data")
    code = SLOW.format(support=support, here=here, films=[str(film) for film in films], out=str(out))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        assert [float(process.stdout.readline()) for _ in range(6)] == [15, 35, 55, 75, 200, 200]
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert read_index(out).settings == SETTINGS
    assert list(out.glob("bright-*.npy.*.tmp"))
    write_features(films, out, SETTINGS, engine=ENGINE)
    write_features(films, tmp_path / "fresh", SETTINGS, engine=ENGINE)
    assert contents(out) == contents(tmp_path / "fresh")


@pytest.mark.parametrize(
    ("asked", "words"),
    [({"crops": 5}, "crops must be 1 or 10, got 5"), ({"crops": 10, "mirrored": True}, "leave mirrored out")],
)
def test_settings_that_cannot_be(asked, words):
    with pytest.raises(FeatureSettingsError, match=words):
        FeatureSettings.for_clip(CLIP, engine="cpu", **asked)
