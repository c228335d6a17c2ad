"""Published layouts of data sets: small stand-ins laid out like the real ones, and the real lists."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_films import film, frame_folder

from operators.figures.videos import abnormal_frames
from pipeline.manifests.checks import check_split, readable
from pipeline.manifests.fights import fights
from pipeline.manifests.folds import validation_split
from pipeline.manifests.layouts import LAYOUTS, read_layout
from pipeline.manifests.manifest import ManifestError, Video, manifest_lines, read_manifest
from pipeline.manifests.ped2 import ped2
from pipeline.manifests.plain import plain_folder
from pipeline.manifests.shanghaitech import shanghaitech
from pipeline.manifests.ucf_crime import ucf_crime
from pipeline.manifests.video_lists import Annotation, read_annotation
from pipeline.sources.film_files import PassedOver


def named(videos: list[Video], folder: Path) -> list[tuple]:
    return [(str(v.path.relative_to(folder.resolve())), v.label, v.intervals, v.split) for v in videos]


def complaint_of(read, *arguments, **options) -> str:
    with pytest.raises(ManifestError) as raised:
        read(*arguments, **options)
    return str(raised.value)


# -- ShanghaiTech ----------------------------------------------------------------------------------------------


@pytest.fixture
def campus(tmp_path):
    """Two scenes, eight videos."""
    for name in ("01_001", "01_002", "02_001", "02_002"):
        film(tmp_path / "training" / "videos" / f"{name}.avi", 20)
    for name in ("01_0014", "01_0015", "02_0014", "02_0015"):
        frame_folder(tmp_path / "testing" / "frames" / name, 10)
    masks = tmp_path / "testing" / "test_frame_mask"
    masks.mkdir()
    np.save(masks / "01_0015.npy", np.array([0, 0, 1, 1, 1, 0, 0, 0, 0, 1], np.uint8))
    np.save(masks / "02_0015.npy", np.ones(10, np.int64))
    np.save(masks / "02_0014.npy", np.array([1] + [0] * 9, np.uint8))
    (tmp_path / "SH_Train.txt").write_text("01_001,0\n02_001,0\n01_0014,1\n02_0014,1\n")
    (tmp_path / "SH_Test.txt").write_text("01_002,0,19\n02_002,0,19\n01_0015,1,-1\n\n02_0015,1,-1\n")
    return tmp_path


def test_shanghaitech(campus):
    videos = shanghaitech(campus)
    assert named(videos, campus) == [
        ("training/videos/01_001.avi", 0, (), "train"),
        ("training/videos/02_001.avi", 0, (), "train"),
        ("testing/frames/01_0014", 1, (), "train"),  # training needs no mask
        ("testing/frames/02_0014", 1, ((0, 1),), "train"),
        ("training/videos/01_002.avi", 0, (), "test"),
        ("training/videos/02_002.avi", 0, (), "test"),
        ("testing/frames/01_0015", 1, ((2, 5), (9, 10)), "test"),
        ("testing/frames/02_0015", 1, ((0, 10),), "test"),
    ]
    assert {(video.path.is_dir(), video.fps) for video in videos} == {(True, 24), (False, None)}
    assert [video.group for video in videos] == ["01", "02"] * 4
    assert readable(videos) == (videos, [])
    check_split(videos, whole_groups=False)
    marked = validation_split(videos, 0.5, 0)
    assert Counter(video.split for video in marked) == {"train": 2, "validation": 2, "test": 4}
    assert [video for video in marked if video.split == "test"] == [video for video in videos if video.split == "test"]


def test_the_manifest_of_shanghaitech_is_read_back(campus):
    videos = shanghaitech(campus)
    (campus / "manifest.jsonl").write_text(manifest_lines(videos, campus))
    assert read_manifest(campus / "manifest.jsonl") == videos
    assert read_layout("manifest", campus / "manifest.jsonl") == videos
    assert read_layout("manifest", campus) == read_layout("shanghaitech", campus) == videos


def test_the_lists_may_lie_elsewhere_and_the_films_be_pictures(campus, tmp_path_factory):
    lists = tmp_path_factory.mktemp("lists")
    (campus / "SH_Train.txt").rename(lists / "SH_Train_new.txt")
    (campus / "SH_Test.txt").rename(lists / "SH_Test_NEW.txt")
    shutil.rmtree(campus / "training" / "videos")
    for name in ("01_001", "01_002", "02_001", "02_002"):
        frame_folder(campus / "training" / "frames" / name, 2)
    videos = shanghaitech(campus, lists=lists)
    assert len(videos) == 8
    assert {video.fps for video in videos} == {24}
    assert "no list of MIST's split" in complaint_of(shanghaitech, campus)


def test_what_shanghaitech_misses_is_said_exactly(campus):
    (campus / "training" / "videos" / "01_002.avi").unlink()
    (campus / "testing" / "test_frame_mask" / "02_0015.npy").unlink()
    assert complaint_of(shanghaitech, campus).splitlines() == [
        f"{campus}: 2 files of ShanghaiTech missing:",
        "  training/videos/01_002.avi",
        "  testing/test_frame_mask/02_0015.npy",
    ]
    skipped: list[str] = []
    assert len(shanghaitech(campus, skipped=skipped)) == 6
    assert skipped == [
        f"{campus}/training/videos/01_002.avi: no such file",
        f"{campus}/testing/test_frame_mask/02_0015.npy: no such file",
    ]


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("SH_Train.txt", "1_001\n", "SH_Train.txt:1: expected a video and its label, like 01_0014,1, or a video; got "),
        ("SH_Train.txt", "01_001,0\n../x,1\n", "SH_Train.txt:2: expected a video and its label"),
        ("SH_Train.txt", "01_001,2\n", "SH_Train.txt:1: label must be 0 or 1, got '2'"),
        ("SH_Train.txt", "01_001,0\n01_001,0\n", "SH_Train.txt:2: 01_001 is named by "),
        ("SH_Test.txt", "01_001,0,1\n", "SH_Test.txt:1: 01_001 is named by "),
        ("SH_Test.txt", "\xff", "label, like"),
    ],
)
def test_a_bad_list_of_shanghaitech(campus, file, content, complaint):
    (campus / file).write_text(content)
    assert complaint in complaint_of(shanghaitech, campus)


def test_a_list_of_shanghaitech_with_ids_alone(campus):
    """Every video of the training part is normal, and every one of the testing part abnormal."""
    as_published = shanghaitech(campus)
    (campus / "SH_Train.txt").write_text("training/videos/01_001.avi\n02_001\nfeatures/01_0014.npy\n02_0014\n")
    (campus / "SH_Test.txt").write_text("01_002 0\n02_002\n01_0015\n02_0015\n")
    assert shanghaitech(campus) == as_published
    assert [video.label for video in as_published] == [0, 0, 1, 1, 0, 0, 1, 1]


def test_masks_of_shanghaitech_as_images_hold_them(campus):
    """255 instead of 1, and a row as a matrix."""
    as_published = shanghaitech(campus)
    for file in (campus / "testing" / "test_frame_mask").iterdir():
        np.save(file, np.load(file).astype(np.uint8)[np.newaxis] * 255)
    assert shanghaitech(campus) == as_published


@pytest.mark.parametrize(
    ("mask", "complaint"),
    [
        (np.ones(11, np.uint8), "a mask of 11 frames, but"),
        (np.ones((10, 2), np.uint8), "expected 0 or 1 for each frame"),
        (np.full(10, 2), "expected 0 or 1 for each frame"),
        (np.array([{"code": 1}]), "holds a pickle, which is not loaded"),
        (None, "not an archive of plain arrays"),
    ],
)
def test_a_bad_mask_of_shanghaitech(campus, mask, complaint):
    file = campus / "testing" / "test_frame_mask" / "02_0015.npy"
    if mask is None:
        file.write_text("nothing")
    else:
        np.save(file, mask)
    assert complaint_of(shanghaitech, campus).startswith(str(file))
    assert complaint in complaint_of(shanghaitech, campus)
    skipped: list[str] = []
    videos = shanghaitech(campus, skipped=skipped)
    assert "02_0015" not in [video.path.name for video in videos]
    assert (len(videos), skipped) == (7, [complaint_of(shanghaitech, campus)])


def test_the_real_split_of_shanghaitech(data, tmp_path):
    """MIST's lists; of the real masks a few, the other videos have one picture each."""
    real = np.load(data / "shanghaitech" / "frame_masks.npz")
    masks = {name: real[name] if name in ("01_0015", "07_0009", "12_0143") else np.ones(1) for name in real.files}
    films, frames, of_frames = (
        tmp_path / "training" / "videos",
        tmp_path / "testing" / "frames",
        tmp_path / "testing" / "test_frame_mask",
    )
    for folder in (films, frames, of_frames):
        folder.mkdir(parents=True)
    for name in ("SH_Train.txt", "SH_Test.txt"):
        shutil.copy(data / "shanghaitech" / name, tmp_path)
        for line in (tmp_path / name).read_text().split():
            video = line.split(",")[0]
            if len(video) == 6:
                (films / f"{video}.avi").touch()
                continue
            (frames / video).mkdir()
            for frame in range(len(masks.get(video, [0]))):
                (frames / video / f"{frame:03d}.jpg").touch()
    for name, mask in masks.items():
        np.save(of_frames / f"{name}.npy", mask)
    videos = shanghaitech(tmp_path)
    assert Counter((v.split, v.label) for v in videos) == {
        ("train", 0): 175,
        ("train", 1): 63,
        ("test", 0): 155,
        ("test", 1): 44,
    }
    assert {v.group for v in videos} == {f"{scene:02d}" for scene in range(1, 14)}
    for video in videos:
        if video.intervals:
            mask = masks[video.path.name]
            assert (abnormal_frames(video.intervals, len(mask)) == mask).all()
    assert sum(bool(video.intervals) for video in videos) == len(masks) == 97
    check_split(videos, whole_groups=False)
    marked = validation_split(videos, 0.2, 0)
    assert Counter(v.split for v in marked)["test"] == 199
    assert not {v.group for v in marked if v.split == "train"} & {v.group for v in marked if v.split == "validation"}


# -- UCF-Crime -------------------------------------------------------------------------------------------------


@pytest.fixture
def crime(tmp_path):
    film(tmp_path / "Anomaly-Videos-Part-1" / "Abuse" / "Abuse001_x264.mp4", 30)
    film(tmp_path / "Anomaly-Videos-Part-1" / "Abuse" / "Abuse028_x264.mp4", 30)
    film(tmp_path / "Arson" / "Arson011_x264.mp4", 40)
    film(tmp_path / "Training-Normal-Videos-Part-1" / "Normal_Videos001_x264.mp4", 20)
    film(tmp_path / "Testing_Normal_Videos_Anomaly" / "Normal_Videos_003_x264.mp4", 20)
    film(tmp_path / "Normal_Videos_event" / "Normal_Videos_003_x264.mp4", 20)
    lists = tmp_path / "Anomaly_Detection_splits"
    lists.mkdir()
    (lists / "Anomaly_Train.txt").write_text(
        "Abuse/Abuse001_x264.mp4\r\nTraining_Normal_Videos_Anomaly/Normal_Videos001_x264.mp4\r\n"
    )
    (lists / "Anomaly_Test.txt").write_text(
        "Abuse/Abuse028_x264.mp4\nArson/Arson011_x264.mp4\nTesting_Normal_Videos_Anomaly/Normal_Videos_003_x264.mp4\n"
    )
    (tmp_path / "Temporal_Anomaly_Annotation_for_Testing_Videos.txt").write_text(
        "Abuse028_x264.mp4  Abuse  11  20  -1  -1  \n"
        "Arson011_x264.mp4  Arson  1  5  31  42  \n"
        "Normal_Videos_003_x264.mp4  Normal  -1  -1  -1  -1  \n"
    )
    return tmp_path


def test_ucf_crime(crime):
    videos = ucf_crime(crime)
    assert named(videos, crime) == [
        ("Anomaly-Videos-Part-1/Abuse/Abuse001_x264.mp4", 1, (), "train"),
        ("Training-Normal-Videos-Part-1/Normal_Videos001_x264.mp4", 0, (), "train"),
        # Frames 11 to 20, counted from 1, both of them: ten frames.
        ("Anomaly-Videos-Part-1/Abuse/Abuse028_x264.mp4", 1, ((10, 20),), "test"),
        # The annotation ends two frames after the film.
        ("Arson/Arson011_x264.mp4", 1, ((0, 5), (30, 40)), "test"),
        ("Testing_Normal_Videos_Anomaly/Normal_Videos_003_x264.mp4", 0, (), "test"),
    ]
    assert all(video.group == str(video.path) for video in videos)
    assert readable(videos) == (videos, [])
    check_split(videos)


def test_what_ucf_crime_misses_is_said_exactly(crime):
    many = "".join(f"Robbery/Robbery{number:03d}_x264.mp4\n" for number in range(12))
    with (crime / "Anomaly_Detection_splits" / "Anomaly_Train.txt").open("a") as file:
        file.write(many)
    assert complaint_of(ucf_crime, crime).splitlines() == [
        f"{crime}: 12 files of UCF-Crime missing:",
        *[f"  Robbery/Robbery{number:03d}_x264.mp4" for number in range(10)],
        "  and 2 more; --skip-bad lists all",
    ]
    skipped: list[str] = []
    assert len(ucf_crime(crime, skipped=skipped)) == 5
    assert len(skipped) == 12
    for film_ in crime.rglob("*.mp4"):
        film_.unlink()
    assert complaint_of(ucf_crime, crime, skipped=[]) == f"{crime}: every video of UCF-Crime is missing"
    (crime / "Temporal_Anomaly_Annotation_for_Testing_Videos.txt").unlink()
    assert f"{crime}: no temporal annotation of UCF-Crime there; expected " in complaint_of(ucf_crime, crime)


#: The annotation of ``crime`` in the forms of other projects; each states all that its test list and annotation do.
OTHER_ANNOTATIONS = {
    "Test_Annotation.txt": (
        "Abuse/Abuse028_x264.mp4 20 Abuse 11 20 -1 -1\n"
        "Arson/Arson011_x264.mp4 40 Arson 1 5 31 42\n"
        "Testing_Normal_Videos_Anomaly/Normal_Videos_003_x264.mp4 20 Normal -1 -1 -1 -1\n"
    ),
    "UCF_Annotation.txt": (
        "Abuse/Abuse028_x264.mp4 20 Abuse 11 20 \n"
        "Arson/Arson011_x264.mp4 40 Arson 1 5 31 42 -1 -1 \n"
        "Testing_Normal_Videos_Anomaly/Normal_Videos_003_x264.mp4 20 Normal -1 -1 \n"
    ),
    "Temporal_Anomaly_Annotation.txt": (
        "Abuse028_x264.mp4 Abuse 11 20 -1 -1 20\n"
        "Arson011_x264.mp4 Arson 1 5 31 42 40\n"
        "Normal_Videos_003_x264.mp4 Normal -1 -1 -1 -1 20\n"
    ),
}


@pytest.mark.parametrize("name", OTHER_ANNOTATIONS)
def test_an_annotation_of_ucf_crime_in_another_form_stands_in_for_the_test_list(crime, name):
    as_published = ucf_crime(crime)
    (crime / "Anomaly_Detection_splits" / "Anomaly_Test.txt").unlink()
    (crime / "Temporal_Anomaly_Annotation_for_Testing_Videos.txt").unlink()
    (crime / name).write_text(OTHER_ANNOTATIONS[name])
    notes: list[str] = []
    assert ucf_crime(crime, notes=notes) == as_published
    assert notes == [f"no Anomaly_Test.txt: the test videos are those of {crime / name}"]


def test_without_lists_the_other_films_of_ucf_crime_are_for_training(crime):
    as_published = ucf_crime(crime)
    film(crime / "own" / "gate.mp4", 2)
    film(crime / "own" / "Abuse7_x264.mp4", 2)
    shutil.rmtree(crime / "Anomaly_Detection_splits")
    notes: list[str] = []
    assert ucf_crime(crime, notes=notes) == as_published
    assert read_layout("ucf-crime", crime, notes=(again := [])) == as_published
    assert again == notes
    assert notes[1:] == [
        "no Anomaly_Train.txt: training videos are all others of UCF-Crime in the folder, 2; "
        "missing ones cannot be noticed"
    ]


def test_the_films_of_ucf_crime_may_all_be_in_one_folder(crime):
    as_published = {video.path.name: (video.label, video.intervals, video.split) for video in ucf_crime(crime)}
    for path in list(crime.rglob("*.mp4")):
        path.rename(crime / path.name)
    shutil.rmtree(crime / "Anomaly_Detection_splits")
    videos = ucf_crime(crime)
    assert {video.path.name: (video.label, video.intervals, video.split) for video in videos} == as_published
    assert {video.path.parent for video in videos} == {crime.resolve()}


@pytest.mark.parametrize(
    "lines",
    [
        "Abuse001_x264\nNormal_Videos001_x264\n",
        "Abuse/Abuse001_x264.mp4 300\nTraining_Normal_Videos_Anomaly/Normal_Videos001_x264.mp4 20\n",
    ],
)
def test_training_lists_of_ucf_crime_of_ids_alone_and_with_frames(crime, lines):
    as_published = ucf_crime(crime)
    splits = crime / "Anomaly_Detection_splits"
    (splits / "Anomaly_Train.txt").unlink()
    (splits / "Train_Annotation.txt").write_text(lines)
    (splits / "Anomaly_Test.txt").write_text("Abuse028_x264\nArson011_x264\nNormal_Videos_003_x264\n")
    notes: list[str] = []
    assert ucf_crime(crime, notes=notes) == as_published
    assert notes == []


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("gate\n", ":1: expected FOLDER/NAME.mp4 or a name like Abuse001_x264, got gate"),
        ("Abuse/Abuse001_x264.npy\n", ":1: expected FOLDER/NAME.mp4 or a name like Abuse001_x264, got Abuse/"),
        ("Abuse001_x264\nAbuse/Abuse001_x264.mp4\n", ":2: Abuse/Abuse001_x264.mp4 is named twice"),
        ("Abuse028_x264\n", ": Abuse/Abuse028_x264.mp4 is named twice, also as a test video"),
        ("Abuse001_x264 1 2\n", ":1: expected NAME [FRAMES], NAME CATEGORY"),
        ("v=aB__#1_label_B4-0-0 0 1517 1970 3038\n", ":1: expected NAME [FRAMES], NAME CATEGORY"),  # XD-Violence
    ],
)
def test_a_bad_training_list_of_ucf_crime(crime, lines, complaint):
    file = crime / "Anomaly_Detection_splits" / "Anomaly_Train.txt"
    file.write_text(lines)
    assert complaint_of(ucf_crime, crime).startswith(f"{file}{complaint}")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("Abuse028_x264.mp4  Abuse  11  20", "Abuse028_x264.mp4  Abuse  11  33", "annotated past the end"),
        ("Abuse028_x264.mp4  Abuse  11  20", "Abuse028_x264.mp4  Abuse  31  31", "annotated past the end"),
        ("Abuse028_x264.mp4  Abuse", "Abuse029_x264.mp4  Abuse", "no line for the test video Abuse/Abuse028_x264.mp4"),
        ("Abuse  11  20  -1  -1", "Normal  -1  -1  -1  -1", "Abuse028_x264 is Normal, in the list Abuse/"),
        ("Abuse  11  20", "Abuse  20  11", ":1: from frame 20 to 11: expected to end after it starts"),
        ("Abuse  11  20", "Abuse  11  -1", ":1: from frame 11 to -1: expected to end after it starts"),
        ("Abuse  11  20", "Abuse  -1  -1", ":1: Abuse028_x264.mp4 is Abuse and has no interval"),
        ("Normal  -1  -1", "Normal  3  4", ":3: Normal_Videos_003_x264.mp4 is Normal and has an interval"),
        ("Abuse  11  20  -1", "Abuse  11  20", ":1: expected NAME CATEGORY START END"),
        ("Abuse  11  20", "Abuse  x  20", ":1: expected NAME CATEGORY START END"),
        ("Arson011", "Abuse028", ":2: Abuse028_x264.mp4 is annotated twice"),
        ("-1  -1  \nArson", "-1  -1  17\nArson", ":1: Abuse028_x264.mp4 has 17 frames, and an interval reaches past"),
    ],
)
def test_a_bad_annotation_of_ucf_crime(crime, old, new, complaint):
    file = crime / "Temporal_Anomaly_Annotation_for_Testing_Videos.txt"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    said = complaint_of(ucf_crime, crime)
    assert said.startswith(str(file))
    assert complaint in said


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("Abuse  11  20", "Abuse  11  33", "annotated past the end"),
        ("Abuse028_x264.mp4  Abuse", "Abuse029_x264.mp4  Abuse", "no line for the test video Abuse/Abuse028_x264.mp4"),
        ("-1  -1  \nArson", "-1  -1  17\nArson", ":1: Abuse028_x264.mp4 has 17 frames, and an interval reaches past"),
    ],
)
def test_a_video_of_ucf_crime_with_a_bad_annotation_may_be_left_out(crime, old, new, complaint):
    file = crime / "Temporal_Anomaly_Annotation_for_Testing_Videos.txt"
    file.write_text(file.read_text().replace(old, new))
    skipped: list[str] = []
    videos = ucf_crime(crime, skipped=skipped)
    assert [video.path.name for video in videos if video.split == "test"] == [
        "Arson011_x264.mp4",
        "Normal_Videos_003_x264.mp4",
    ]
    (line,) = skipped
    assert line.startswith(str(file))
    assert complaint in line


def test_the_real_annotation_of_ucf_crime(data):
    annotations = read_annotation(data / "ucf_crime" / "temporal_annotation.txt")
    assert len(annotations) == 290
    assert Counter(annotation.label for annotation in annotations.values()) == {0: 150, 1: 140}
    # "Abuse028_x264.mp4 Abuse 165 240 -1 -1 1412": 76 frames, the first of them the 165th.
    assert annotations["Abuse028_x264"] == Annotation("Abuse", ((164, 240),), 1412)
    # "Arson011_x264.mp4 Arson 150 420 680 1267 1266": cut at the end of the film.
    assert annotations["Arson011_x264"] == Annotation("Arson", ((149, 420), (679, 1266)), 1266)
    assert annotations["Burglary035_x264"].intervals[0] == (0, 1740)
    assert annotations["Normal_Videos_003_x264"] == Annotation("Normal", (), 2822)
    for annotation in annotations.values():
        for first, end in annotation.intervals:
            assert 0 <= first < end <= annotation.frames


# -- UCSD Ped2 -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def walkway(tmp_path_factory):
    """The archive's folders, with its stray files; in test video k, frames k to k + 2 are abnormal."""
    top = tmp_path_factory.mktemp("ucsd")
    folder = top / "UCSDped2"
    for number in range(1, 17):
        frame_folder(folder / "Train" / f"Train{number:03d}", 4, "tif", first=1)
    for number in range(1, 13):
        frame_folder(folder / "Test" / f"Test{number:03d}", 20, "tif", first=1)
        masks = folder / "Test" / f"Test{number:03d}_gt"
        masks.mkdir()
        for frame in range(20):
            mask = np.zeros((32, 32), np.uint8)
            mask[5, 7] = 255 if number <= frame <= number + 2 else 0
            Image.fromarray(mask).save(masks / f"frame{frame + 1}.bmp")
    for stray in ("._001.tif", ".DS_Store", "Thumbs.db"):
        (folder / "Test" / "Test001" / stray).write_bytes(b"stray")
    return top


def test_ped2_as_published(walkway):
    videos = ped2(walkway)
    assert videos == ped2(walkway / "UCSDped2")
    assert named(videos, walkway / "UCSDped2") == [
        *[(f"Train/Train{number:03d}", 0, (), "train") for number in range(1, 17)],
        *[(f"Test/Test{number:03d}", 1, ((number, number + 3),), "test") for number in range(1, 13)],
    ]
    assert {video.fps for video in videos} == {10}
    assert len({video.group for video in videos}) == 28
    assert [video.masks and video.masks.name for video in videos] == [
        *[None] * 16,
        *[f"Test{number:03d}_gt" for number in range(1, 13)],
    ]
    assert readable(videos) == (videos, [])
    assert "split train: no abnormal video" in complaint_of(check_split, videos)


def test_what_ped2_misses_is_said_exactly(walkway, tmp_path):
    folder = tmp_path / "UCSDped2"
    shutil.copytree(walkway / "UCSDped2", folder)
    shutil.rmtree(folder / "Train" / "Train007")
    shutil.rmtree(folder / "Test" / "Test002_gt")
    said = complaint_of(ped2, folder)
    assert said.splitlines() == [f"{folder}: 2 files of UCSD Ped2 missing:", "  Train/Train007", "  Test/Test002_gt"]
    assert len(ped2(folder, skipped=[])) == 26
    (folder / "Test" / "Test003_gt" / "frame20.bmp").unlink()
    assert "Test003: 20 frames, and labels or masks for 19" in complaint_of(ped2, folder)
    (folder / "Test" / "Test003_gt" / "frame20.bmp").write_text("no mask")
    assert "frame20.bmp: not a picture" in complaint_of(ped2, folder)
    (folder / "Test" / "Test004_gt" / "frame20.bmp").unlink()
    skipped: list[str] = []
    assert len(ped2(folder, skipped=skipped)) == 24
    (short,) = (line for line in skipped if "Test004" in line)
    assert short.endswith("Test004: 20 frames, and labels or masks for 19")
    assert [line for line in skipped if "frame20.bmp: not a picture" in line]
    assert "expected UCSD Ped2" in complaint_of(ped2, folder / "Test")


def test_ped2_as_films(tmp_path):
    film(tmp_path / "train" / "01.mp4", 8)
    film(tmp_path / "train" / "02.mp4", 8)
    film(tmp_path / "test" / "01.mp4", 6)
    film(tmp_path / "test" / "03.mp4", 4)
    labels = tmp_path / "frame_labels.json"
    labels.write_text(json.dumps({"01": [0, 0, 1, 1, 0, 1], "03": [0] * 4}))
    videos = ped2(tmp_path)
    assert named(videos, tmp_path) == [
        ("train/01.mp4", 0, (), "train"),
        ("train/02.mp4", 0, (), "train"),
        ("test/01.mp4", 1, ((2, 4), (5, 6)), "test"),
        ("test/03.mp4", 0, (), "test"),
    ]
    assert {video.masks for video in videos} == {None}
    (tmp_path / "pixel_masks.zip").touch()
    assert [video.masks and video.masks.name for video in ped2(tmp_path)] == [None] * 2 + ["pixel_masks.zip"] * 2
    labels.write_text(json.dumps({"01": [0] * 7, "03": [0] * 4}))
    assert "01.mp4: 6 frames, and labels or masks for 7" in complaint_of(ped2, tmp_path)
    skipped: list[str] = []
    assert [video.path.stem for video in ped2(tmp_path, skipped=skipped)] == ["01", "02", "03"]
    assert skipped == [f"{tmp_path}/test/01.mp4: 6 frames, and labels or masks for 7"]
    labels.write_text(json.dumps({"01": [0] * 5 + [2]}))
    assert complaint_of(ped2, tmp_path) == f"{labels}: 01: expected 0 or 1 for each frame"
    labels.write_text(json.dumps({"01": [0] * 6, "02": [1], "03": [0] * 4}))
    assert complaint_of(ped2, tmp_path).splitlines()[1:] == ["  test/02.mp4"]
    labels.write_text("[]")
    assert "expected lists of labels" in complaint_of(ped2, tmp_path)


def test_the_real_ped2(data):
    videos = ped2(data / "ped2")
    assert Counter((video.split, video.label) for video in videos) == {("train", 0): 12, ("test", 1): 9}
    labels = json.loads((data / "ped2" / "frame_labels.json").read_text())
    for video in videos:
        if video.label:
            of_frames = labels[video.path.stem]
            assert abnormal_frames(video.intervals, len(of_frames)).tolist() == of_frames


# -- fights, and a plain folder --------------------------------------------------------------------------------


def test_fights_that_are_missing_are_all_named(tmp_path):
    film(tmp_path / "a.mp4", 2)
    clips = [{"clip": f"{name}.mp4", "label": 1, "source": "s"} for name in "abc"]
    (tmp_path / "clips.json").write_text(json.dumps(clips))
    assert complaint_of(fights, tmp_path).splitlines() == [
        f"{tmp_path}: 2 files of the fights data set missing:",
        "  b.mp4",
        "  c.mp4",
    ]
    skipped: list[str] = []
    assert [video.path.name for video in fights(tmp_path, skipped=skipped)] == ["a.mp4"]
    assert skipped == [f"{tmp_path}/b.mp4: no such file", f"{tmp_path}/c.mp4: no such file"]


def test_a_plain_folder(tmp_path):
    film(tmp_path / "normal" / "gate.MP4", 2)
    film(tmp_path / "normal" / "hall" / "quiet.mkv", 2)
    film(tmp_path / "abnormal" / "hall" / "fight.mp4", 2)
    frame_folder(tmp_path / "abnormal" / "yard" / "fall", 3)
    (tmp_path / "normal" / "notes.txt").touch()
    (tmp_path / "normal" / ".hidden.mp4").touch()
    videos = plain_folder(tmp_path, fps=5)
    assert named(videos, tmp_path) == [
        ("normal/gate.MP4", 0, (), None),
        ("normal/hall/quiet.mkv", 0, (), None),
        ("abnormal/hall/fight.mp4", 1, (), None),
        ("abnormal/yard/fall", 1, (), None),
    ]
    assert [video.group for video in videos] == [str(videos[0].path), "hall", "hall", "yard"]
    assert [video.fps for video in videos] == [None, None, None, 5]
    assert readable(videos) == (videos, [])
    assert "fall: a folder of pictures states no rate; give its fps" in complaint_of(plain_folder, tmp_path)
    skipped: list[str] = []
    passed_over = PassedOver()
    assert len(plain_folder(tmp_path, skipped=skipped, passed_over=passed_over)) == 3
    assert len(skipped) == 1
    line = passed_over.line()
    assert line is not None
    assert line.startswith("passed over 1 file not recognised as video (1 .txt)")


def test_a_plain_folder_with_preview_pictures(tmp_path):
    """A picture beside each film does not make the folder one video of pictures."""
    film(tmp_path / "normal" / "gate.dav.mp4", 2).rename(tmp_path / "normal" / "gate.dav")
    frame_folder(tmp_path / "abnormal" / "hall", 2)
    film(tmp_path / "abnormal" / "hall" / "000.mp4", 2)
    film(tmp_path / "abnormal" / "hall" / "001.mp4", 2)
    expected = ["normal/gate.dav", "abnormal/hall/000.mp4", "abnormal/hall/001.mp4"]
    for fps in (None, 25):
        passed_over = PassedOver()
        videos = plain_folder(tmp_path, fps=fps, passed_over=passed_over)
        assert [path for path, *_ in named(videos, tmp_path)] == expected
        assert "(2 .jpg)" in (passed_over.line() or "")


def test_a_link_back_does_not_lead_round_for_ever(tmp_path):
    film(tmp_path / "normal" / "gate.mp4", 2)
    film(tmp_path / "abnormal" / "fight.mp4", 2)
    (tmp_path / "normal" / "back").symlink_to(tmp_path / "normal")
    assert [path for path, *_ in named(plain_folder(tmp_path), tmp_path)] == ["normal/gate.mp4", "abnormal/fight.mp4"]


def test_a_link_that_leads_to_itself_is_no_video(tmp_path):
    film(tmp_path / "normal" / "gate.mp4", 2)
    film(tmp_path / "abnormal" / "fight.mp4", 2)
    loop = tmp_path / "normal" / "loop.mp4"
    loop.symlink_to(loop)
    said = f"{loop}: a link that leads to itself"
    assert complaint_of(plain_folder, tmp_path) == said
    skipped: list[str] = []
    assert len(plain_folder(tmp_path, skipped=skipped)) == 2
    assert skipped == [said]


def test_a_folder_that_is_not_plain(tmp_path):
    assert complaint_of(plain_folder, tmp_path).startswith(f"{tmp_path}: no folder normal and no folder abnormal")
    film(tmp_path / "normal" / "a.mp4", 2)
    (tmp_path / "abnormal").mkdir()
    assert complaint_of(plain_folder, tmp_path) == f"{tmp_path / 'abnormal'}: holds no video"


def test_every_layout_has_a_name(tmp_path):
    assert sorted(LAYOUTS) == ["fights", "folder", "manifest", "mvtec", "ped2", "shanghaitech", "ucf-crime"]
    for name in LAYOUTS:
        assert str(tmp_path) in complaint_of(read_layout, name, tmp_path)
