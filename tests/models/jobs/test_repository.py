"""The product as versions of a repository that people use: nothing of it vanishes, and none comes twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_mist import export

from models.card import Alerting, write_card
from models.detectors.mist.card import Architecture, Backbone, MistCard
from models.detectors.mist.encoder import WEIGHTS_FILE
from models.jobs.repository import Repository
from models.jobs.stages import Stages
from models.serving import versions
from models.serving.export import SERVED_NAME, ExportError
from pipeline.windows import ClipSpec, StoredClip


def card(name: str, **clip: int) -> MistCard:
    return MistCard(
        name=name,
        description="no weights, for tests",
        architecture=Architecture(inputs=8),
        backbone=Backbone(name="i3d-kinetics400", tensors_sha256="0" * 64),
        weights_sha256="0" * 64,
        clip=StoredClip.from_spec(ClipSpec(**clip)),
        alerting=Alerting(kernel=1, open_threshold=0.5, close_threshold=0.4),
        training={},
        figures={},
    )


class Job:
    """A run's last stage alone."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "run"
        self.product = folder / "product"
        self.repository = self.out / "repository"
        self.model = self.repository / SERVED_NAME

    def __call__(self, product: str, export=export, **clip: int) -> bool:
        """Whether the stage ran for a product of that name."""
        self.product.mkdir(exist_ok=True)
        write_card(card(product, **clip), self.product)
        (self.product / WEIGHTS_FILE).write_text(product)
        place = Repository(self.repository, self.product)
        inputs = {"product": product, **clip}
        return Stages(self.out).run("repository", inputs, lambda draft: place.fill(draft, export), place=place).fresh

    def there(self) -> dict[int, str]:
        """What each version is of."""
        return {
            number: (self.model / str(number) / WEIGHTS_FILE).read_text() for number in versions.versions(self.model)
        }


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path)


def dies(done: int):
    """An export that ends ``done`` versions after its beginning, as on a full disk."""

    def half(product: Path, repository: Path) -> None:
        for _ in range(done):
            export(product, repository)
        raise OSError(28, "No space left on device")

    return half


def test_another_product_is_the_next_version_and_the_one_before_can_be_gone_back_to(job):
    assert job("a")
    assert not job("a")
    assert job("b")
    assert job.there() == {1: "a", 2: "b"}
    assert versions.history(job.model) == [1, 2]
    assert versions.roll_back(job.model) == 1
    assert not list(job.out.glob(".*"))


def test_who_has_chosen_keeps_the_choice_until_there_is_another_product(job):
    job("a")
    job("b")
    versions.roll_back(job.model)
    assert not job("b")
    assert versions.served(job.model) == 1
    assert job("c")
    assert job.there() == {1: "a", 2: "b", 3: "c"}
    assert versions.served(job.model) == 3


def test_what_others_put_beside_it_stays(job, tmp_path):
    job("a")
    other = tmp_path / "other"
    other.mkdir()
    write_card(card("other"), other)
    (other / WEIGHTS_FILE).write_text("other")
    export(other, job.repository)
    (job.model / "1" / "__pycache__").mkdir()  # as Triton leaves it
    assert not job("a")
    assert versions.served(job.model) == 2
    assert job("b")
    assert job.there() == {1: "a", 2: "other", 3: "b"}


def test_a_configuration_that_was_changed_by_hand_is_no_damage(job):
    job("a")
    config = job.model / "config.pbtxt"
    config.write_text(config.read_text() + "max_batch_size: 4\n")
    job("b")
    versions.roll_back(job.model)
    assert "max_batch_size: 4" in config.read_text()
    assert not job("b")
    assert job("a")
    assert job.there() == {1: "a", 2: "b"}


def test_a_product_that_comes_back_is_the_version_that_it_was(job):
    job("a")
    job("b")
    assert job("a", export=dies(0))  # nothing is exported
    assert job.there() == {1: "a", 2: "b"}
    assert versions.served(job.model) == 1
    assert not job("a")


@pytest.mark.parametrize("done", [0, 1])
def test_an_export_that_was_cut_short_leaves_no_version_behind(job, done):
    with pytest.raises(OSError, match="No space left"):
        job("a", export=dies(done))
    assert not job.repository.exists()
    assert job("a")
    assert job.there() == {1: "a"}
    with pytest.raises(OSError, match="No space left"):
        job("b", export=dies(done))
    assert job.there() == {1: "a"}
    assert job("b")
    assert job.there() == {1: "a", 2: "b"}


@pytest.mark.parametrize("before", ["serve", "_point_to"])
def test_cut_short_while_it_is_handed_over_it_is_the_same_version(job, monkeypatch, before):
    """Between the version's name and its being served: the same call ends what it had begun."""
    job("a")
    with monkeypatch.context() as patched:

        def cut(model, number, *_):
            if before == "serve" and number == versions.served(model):
                return  # names the version that serves, before the next one comes
            raise KeyboardInterrupt

        patched.setattr(versions, before, cut)
        with pytest.raises(KeyboardInterrupt):
            job("b")
    assert job("b")
    assert job.there() == {1: "a", 2: "b"}
    assert versions.served(job.model) == 2


def test_cut_short_before_it_says_so_it_is_the_same_version(job):
    job("a")
    job("b")
    record = job.repository / "stage.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"key": "of a", "version": 1}))
    assert job("b", export=dies(0))
    assert job.there() == {1: "a", 2: "b"}


@pytest.mark.parametrize("harm", ["changed", "removed"])
def test_a_damaged_version_is_followed_by_a_whole_one(job, harm):
    job("a")
    file = job.model / "1" / WEIGHTS_FILE
    file.write_text("A") if harm == "changed" else file.unlink()
    assert job("a")
    assert (job.model / "2" / WEIGHTS_FILE).read_text() == "a"
    assert versions.history(job.model) == [1, 2]


def test_other_clips_than_it_serves_are_refused_before_the_export(job):
    job("a")
    with pytest.raises(
        ExportError, match=r"run/repository/clip_scorer serves clips of .* move .*run/repository away, or"
    ):
        job("b", export=dies(1), height=64)
    assert job.there() == {1: "a"}


def test_a_folder_that_is_no_repository_stays(job):
    job.model.mkdir(parents=True)
    (job.model / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match="exists and is not a served model"):
        job("a")
    assert (job.model / "notes.txt").read_text() == "mine"


def test_a_repository_of_an_earlier_mistwatch_gets_the_next_version(job):
    """It kept one version, and a stage's file of all of it beside the model."""
    job.product.mkdir()
    write_card(card("a"), job.product)
    (job.product / WEIGHTS_FILE).write_text("a")
    export(job.product, job.repository)
    (job.repository / "stage.json").write_text('{"stage": "repository", "key": "0", "files": {}}')
    assert job("b")
    assert job.there() == {1: "a", 2: "b"}
