"""The job that trains a classifier, on pictures of a made yard."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any

import av
import numpy as np
import pytest
import torch
from labelled_pictures import HEIGHT, WIDTH, write, write_classes, write_film, write_stream, yard

from models.card import read_card
from models.detectors.base import read_detector
from models.detectors.classifier.card import ClassifierCard
from models.detectors.classifier.examples import ExampleSet, read_class_folders
from models.detectors.classifier.head_training import train_head
from models.detectors.classifier.job import Outcome, train_classifier
from models.detectors.classifier.networks import PictureClassifier, PooledHead, load_maps
from models.detectors.classifier.recipe import ClassifierRecipe
from models.detectors.classifier.stages import features
from models.detectors.classifier.stages.pictures import _frames
from models.detectors.classifier.stages.pictures import compute as decode
from models.jobs.errors import TrainingError
from pipeline.manifests.manifest import Video, open_video

RECIPE = ClassifierRecipe.model_validate(
    {"height": HEIGHT, "width": WIDTH, "augmentation": {"views": 2}, "head": {"epochs": 15}, "draws": 50}
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures of a yard, and ten with a red box in it."""
    return write_classes(tmp_path_factory.mktemp("pictures"))


def trained(folder: Path, out: Path, recipe: ClassifierRecipe = RECIPE, **more: Any) -> Outcome:
    return train_classifier(read_class_folders(folder, "normal"), recipe, out, **more)


@pytest.fixture(scope="module")
def outcome(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return trained(folder, tmp_path_factory.mktemp("run"))


def served(outcome: Outcome) -> PictureClassifier:
    family, card = read_detector(outcome.product)
    network = family.load(card, outcome.product, lambda _words: None)
    assert isinstance(network, PictureClassifier)
    return network


def test_it_learns_what_a_box_is_and_where(outcome: Outcome) -> None:
    """On pictures that it has not seen: the score, and the heat where the box stands."""
    network = served(outcome)
    with torch.inference_mode():
        for seed in range(3):
            clips = torch.from_numpy(np.stack([yard(500 + seed), yard(600 + seed, box=True)]))[:, None]
            scores, features, heat = network(clips)
            assert scores[0] < 0.3 < 0.7 < scores[1]
            assert features.shape == (2, 1280)
            row, column = (int(at) for at in np.unravel_index(int(heat[1].argmax()), heat[1].shape))
            # Of 3 × 4 cells, the box covers parts of these, or reaches their borders.
            assert row in (1, 2)
            assert column in (2, 3)


def test_the_card(outcome: Outcome) -> None:
    card = outcome.card
    assert card.architecture.classes == ("normal", "anomaly")
    assert card.clip.spec == RECIPE.clip
    assert card.training["pictures"] == {"normal": 10, "anomaly": 10}
    found = card.figures["out_of_fold"]
    assert found["pictures"] == found["groups"] == 20
    assert found["anomalies"] == 10
    assert np.array(found["confusion"]).sum(axis=1).tolist() == [10, 10]
    assert found["auc"]["value"] > 0.9
    assert 0.5 <= card.alerting.open_threshold < 1
    assert card.alerting.open_threshold / 2 <= card.alerting.close_threshold + 0.005 <= card.alerting.open_threshold
    assert read_card(outcome.product, ClassifierCard) == card


def test_the_parameters_that_change_are_those_of_the_head(folder: Path, tmp_path: Path) -> None:
    """The stages' own functions, on a network that is looked at before and after."""
    maps, head = load_maps("efficientnet-lite0"), PooledHead(1280, 2)
    network = PictureClassifier(maps, head, 2)
    before = {name: values.clone() for name, values in network.named_parameters()}
    shown = np.stack([yard(seed, box=seed % 2 == 1) for seed in range(8)])
    features.compute(tmp_path, shown, maps, head, RECIPE, 0, lambda _done: None)
    truth = np.arange(8) % 2
    train_head(head, features.read(tmp_path), truth, range(4), range(4, 8), RECIPE.head, 2, 0, tmp_path / "head")
    changed = {name for name, values in network.named_parameters() if not torch.equal(values, before[name])}
    assert changed == {"head.linear.weight", "head.linear.bias"}


def test_the_same_seed_gives_the_same_product_and_stages_are_kept(
    folder: Path, outcome: Outcome, tmp_path: Path
) -> None:
    again = trained(folder, tmp_path / "run")
    assert again.card == outcome.card
    lines: list[str] = []
    trained(folder, tmp_path / "run", report=lines.append)
    assert [line for line in lines if "unchanged" in line] == [
        f"{name}: unchanged" for name in ("pictures", "features", "folds", "head", "product")
    ]
    lines.clear()
    changed = RECIPE.model_copy(update={"alarms": RECIPE.alarms.model_copy(update={"kernel": 5})})
    assert trained(folder, tmp_path / "run", changed, report=lines.append).card.alerting.kernel == 5
    assert [line.partition(":")[0] for line in lines if "unchanged" not in line] == ["product"]


def test_a_mistake_is_listed_with_its_picture(folder: Path, tmp_path: Path) -> None:
    """A picture in the wrong folder."""
    mixed = write_classes(tmp_path / "mixed")
    wrong = write(mixed / "normal" / "wrong.png", yard(901, box=True))
    found = trained(mixed, tmp_path / "run")
    files = read_class_folders(mixed, "normal").files
    (listed,) = [one for one in found.mistakes if files[one["source"]].path == wrong]
    assert listed["name"] == "normal/wrong.png"
    assert str(tmp_path) not in (found.product / "mistakes.json").read_text()
    assert (listed["class"], listed["called"]) == ("normal", "anomaly")
    assert np.array(listed["heat"]).shape == (3, 4)
    worst = [one["probabilities"][one["class"]] for one in found.mistakes]
    assert worst == sorted(worst)
    assert found.mistakes == json.loads((found.product / "mistakes.json").read_text())


def test_names_that_are_not_text(tmp_path: Path) -> None:
    mixed = write_classes(tmp_path / "mixed", normal=3, anomaly=3)
    (mixed / "normal" / "0.png").rename(mixed / "normal" / os.fsdecode(b"caf\xe9.png"))
    assert trained(mixed, tmp_path / "run").card.training["pictures"] == {"normal": 3, "anomaly": 3}
    rows = (tmp_path / "run" / "pictures" / "rows.jsonl").read_text().splitlines()
    assert "normal/caf\\xe9.png" in {json.loads(row)["name"] for row in rows}


def test_frames_of_a_film_without_a_stated_length(tmp_path: Path) -> None:
    """A Matroska file that a killed recorder left: the frames are spread over all of it."""
    shown = [yard(at) for at in range(30)]
    film = tmp_path / "film.mkv"
    with film.open("wb") as pipe, av.open(Unseekable(pipe), "w", format="matroska") as container:  # type: ignore[arg-type]
        write_stream(container, shown)
    recipe = RECIPE.model_copy(update={"examples": RECIPE.examples.model_copy(update={"fps": 5.0, "most_of_each": 5})})
    examples = ExampleSet(tmp_path, "normal", videos=(Video(film, 1, ((20, 30),), group="g"),))
    with pytest.raises(TrainingError, match="too few pictures of normal"):
        decode(tmp_path, examples, recipe, skip_bad=False, progress=lambda _: None, report=lambda _: None)
    assert open_video(examples.videos[0]).stated_seconds() is None
    frames = [(row.frame, row.class_name) for _, row in _frames(examples.videos[0], 0, examples, recipe)]
    assert frames == [(0, "normal"), (6, "normal"), (12, "normal"), (18, "normal"), (24, "anomaly")]


class Unseekable:
    """A file that can be written and nothing else, like a pipe."""

    def __init__(self, file: IO[bytes]) -> None:
        self.write = file.write


def test_damaged_pictures_are_listed_or_left_out(folder: Path, tmp_path: Path) -> None:
    mixed = write_classes(tmp_path / "mixed", normal=4, anomaly=4)
    (mixed / "normal" / "broken.png").write_bytes((mixed / "normal" / "0.png").read_bytes()[:60])
    write(mixed / "anomaly" / "tiny.png", yard(5)[:8, :8])
    with pytest.raises(TrainingError) as refused:
        trained(mixed, tmp_path / "run")
    broken, tiny = sorted(str(refused.value).split("\n"), key=lambda line: "tiny" in line)
    assert broken.startswith(f"{mixed}/normal/broken.png: not a picture that can be decoded (")
    assert tiny == f"{mixed}/anomaly/tiny.png: a picture of 8×8 pixels; expected at least 16×16"
    lines: list[str] = []
    done = trained(mixed, tmp_path / "run", skip_bad=True, report=lines.append)
    assert done.card.training["pictures"] == {"normal": 4, "anomaly": 4}
    assert sum(line.startswith("left out: ") for line in lines) == 2


def test_classes_that_differ_by_size_are_reported(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "data", normal=3, anomaly=0)
    for number in range(3):
        write(folder / "anomaly" / f"{number}.png", yard(number, box=True)[:64, :80])
    lines: list[str] = []
    trained(folder, tmp_path / "run", report=lines.append)
    (note,) = [line for line in lines if "differ by the size" in line]
    assert "got normal of 128×96, others of 80×64" in note


def test_frames_of_videos_are_pictures(tmp_path: Path) -> None:
    """Intervals say which frames are abnormal; a film's frames are one group, and its split is kept."""
    films = []
    for number in range(8):
        seen = [yard(100 * number + at, box=number % 2 == 1 and at >= 10) for at in range(20)]
        films.append(write_film(tmp_path / f"{number}.mp4", seen))
    videos = tuple(
        Video(
            film,
            number % 2,
            ((10, 20),) if number % 2 else (),
            split="test" if number > 5 else None,
            group=f"g{number}",
        )
        for number, film in enumerate(films)
    )
    recipe = RECIPE.model_copy(update={"examples": RECIPE.examples.model_copy(update={"fps": 5.0, "most_of_each": 10})})
    found = train_classifier(ExampleSet(tmp_path, "normal", videos=videos), recipe, tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "pictures" / "rows.jsonl").read_text().splitlines()]
    for number in range(8):
        own = [row for row in rows if row["group"] == f"g{number}"]
        assert [row["frame"] for row in own] == list(range(0, 20, 2))
        wanted = [number % 2 == 1 and row["frame"] >= 10 for row in own]
        assert [row["class_name"] == "anomaly" for row in own] == wanted
    assert found.card.figures["out_of_fold"]["groups"] == 6
    assert found.card.figures["test"]["pictures"] == 20
    assert found.card.held_out_sources == ["g6", "g7"]
