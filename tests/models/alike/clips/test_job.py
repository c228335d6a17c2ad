"""The job on clips: stages, resume, a product that can be exported, and bad input, with a tiny backbone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from models.alike.bank import Bank
from models.alike.clips import product, stretches
from models.alike.clips.films import read_films
from models.alike.clips.job import train_on_clips
from models.alike.clips.recipe import ClipRecipe, Films
from models.alike.clips.scratch import WEIGHTS_FILE
from models.alike.served.card import read_embedding_card
from models.alike.served.embedder import Embedder
from models.alike.served.export import export_embedding
from models.alike.served.weights import load_embedder
from models.data.extraction import Clips, Engine, Floats
from models.jobs.errors import TrainingError
from pipeline.errors import UsageError

RECIPE = ClipRecipe.model_validate(
    {
        "kind": "clips",
        "name": "alike-tiny",
        "films": {"every_frames": 4},
        "clip": {"frames": 4, "stride": 4, "fps": None, "height": 16, "width": 16, "fit": "stretch"},
        "views": {"number": 2},
        "head": {"components": 3},
        "contrast": {"values": 4, "optimisation": {"epochs": 3, "batch": 4}},
    }
)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    (folder / "monday").mkdir(parents=True)
    for number, place in enumerate((folder / "a.mp4", folder / "b.mp4", folder / "monday" / "c.mp4")):
        write_film(place, frames=24, seed=number)
    return folder


def write_film(path: Path, *, frames: int, seed: int) -> None:
    """A film of random pictures."""
    draw = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(frames):
            picture = np.repeat(np.repeat(draw.integers(0, 256, (4, 4, 3), np.uint8), 8, axis=0), 8, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


class Counted:
    """A backbone whose features are the mean brightness of each quarter of the picture; counts its clips."""

    def __init__(self) -> None:
        self.clips = 0
        self.fails_after: int | None = None

    def encode(self, clips: Clips) -> tuple[Floats, ...]:
        self.clips += len(clips)
        if self.fails_after is not None and self.clips > self.fails_after:
            raise KeyboardInterrupt
        n, t, h, w, c = clips.shape
        quarters = clips.reshape(n, t, 2, h // 2, 2, w // 2, c).mean(axis=(1, 3, 5)) / 255
        return (quarters.reshape(n, -1).astype(np.float32),)


@pytest.fixture
def backbone(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    monkeypatch.setattr(stretches, "open_feature_engine", lambda *_: Engine("tiny", 1, counted.encode))
    return counted


def run(
    films: Path, out: Path, recipe: ClipRecipe = RECIPE, report: Callable[[str], None] = lambda _line: None
) -> Path:
    return train_on_clips(read_films(recipe.films, films), recipe, out, report=report).product


def test_the_product_can_be_exported_and_holds_the_embeddings_of_the_stretches(
    films: Path, tmp_path: Path, backbone: Counted
) -> None:
    folder = run(films, tmp_path / "run")
    card = read_embedding_card(folder)
    assert (card.features.count, card.widths, card.training["films"]) == (12, (4,), 3)
    assert card.similarity <= card.mute_similarity
    views, film = stretches.read(tmp_path / "run" / "views")
    # 24 frames hold 5 stretches of 8 that begin every 4.
    assert views.shape == (15, 3, 12)
    assert film.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    embedded = Embedder(load_embedder(card, folder)).embed(np.array(views[:, 0]))
    assert Bank.load(folder).features == pytest.approx(embedded)
    assert (export_embedding(folder, tmp_path / "repository") / "1" / "model.py").exists()


def test_a_stopped_run_reads_no_film_twice(films: Path, tmp_path: Path, backbone: Counted) -> None:
    whole = run(films, tmp_path / "whole")
    backbone.clips, backbone.fails_after = 0, 20  # in the second film: 5 stretches of 3 views each
    with pytest.raises(KeyboardInterrupt):
        run(films, tmp_path / "stopped")
    backbone.clips, backbone.fails_after = 0, None
    again = run(films, tmp_path / "stopped")
    assert backbone.clips == 2 * 15
    assert (again / "embedder.safetensors").read_bytes() == (whole / "embedder.safetensors").read_bytes()
    lines: list[str] = []
    backbone.clips = 0
    run(films, tmp_path / "stopped", report=lines.append)
    assert backbone.clips == 0
    assert [line.split(": ")[0] for line in lines] == ["views", "head", "product"]
    assert not any("runs" in line for line in lines)


def test_another_head_does_not_read_the_films_again(films: Path, tmp_path: Path, backbone: Counted) -> None:
    run(films, tmp_path / "run")
    backbone.clips = 0
    run(films, tmp_path / "run", RECIPE.model_copy(update={"head": RECIPE.head.model_copy(update={"power": 1.0})}))
    assert backbone.clips == 0


def test_the_suggested_similarity_is_a_quantile_of_other_films() -> None:
    # Two films; between them the angles are 60°, 60°, 90° and 90°; within a film all clips are equal.
    axes = np.eye(3, dtype=np.float32)
    tilted = np.array([0.5, np.sqrt(0.75), 0], np.float32)
    embeddings = np.stack([axes[0], axes[0], tilted, axes[2]])
    film = np.array([0, 0, 1, 1])
    assert product.suggested_similarity(embeddings, film, 0.9, 0) == 0.5
    assert product.suggested_similarity(embeddings, film, 0.1, 0) == 0.01, "never below a hundredth"


@pytest.mark.parametrize(("count", "problem"), [(0, "0 films; expected two or more"), (1, "1 films")])
def test_too_few_films(count: int, problem: str, tmp_path: Path) -> None:
    for number in range(count):
        write_film(tmp_path / f"{number}.mp4", frames=24, seed=number)
    with pytest.raises(UsageError, match=problem):
        read_films(Films(), tmp_path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not a folder; expected one with films$"):
        read_films(Films(), tmp_path / "none")
    with pytest.raises(UsageError, match=r"not a folder; expected one with films; render them"):
        read_films(Films(folder=tmp_path / "none", obtain="render them"), None)
    with pytest.raises(UsageError, match=r"films\.folder: missing"):
        read_films(Films(), None)


def test_films_that_are_too_short(tmp_path: Path, backbone: Counted) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(2):
        write_film(folder / f"{number}.mp4", frames=5 + 8 * number, seed=number)
    with pytest.raises(TrainingError, match="1 films with a stretch of 8 frames; expected two or more"):
        run(folder, tmp_path / "run")


@pytest.mark.slow
def test_a_backbone_from_scratch(films: Path, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(
        update={
            "weights": "none",
            "clip": RECIPE.clip.model_copy(update={"frames": 16, "height": 64, "width": 64}),
            "films": Films(every_frames=4),
            "views": RECIPE.views.model_copy(update={"lengths": 1.25, "speeds": (1.0, 1.25)}),
            "contrast": RECIPE.contrast.model_copy(
                update={"optimisation": RECIPE.contrast.optimisation.model_copy(update={"epochs": 1, "batch": 2})}
            ),
        }
    )
    outcome = train_on_clips(read_films(recipe.films, films), recipe, tmp_path / "run")
    assert outcome.card is None
    assert (outcome.product / WEIGHTS_FILE).stat().st_size > 40_000_000, "I3D and the head"
    assert Bank.load(outcome.product).features.shape == (6, 4)
