"""`mistwatch export`, `versions` and `serve` of an embedding model, as a person meets them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from in_process import called
from tiny_embedder import write_embedder
from tiny_motion import motion_model
from triton_of_brightness import Server

from deploy.triton.server import TritonServer
from models.alike.served.card import read_embedding_card
from models.serving import versions
from pipeline.cli.repository import repository_of, serving, serving_together
from pipeline.errors import UsageError
from pipeline.scoring.embedding import EmbeddingClient, EmbeddingModel
from pipeline.scoring.served_model import served_model


def describe(address: str, model: str = "alike") -> EmbeddingModel:
    client = EmbeddingClient(address, model)
    try:
        return client.describe()
    finally:
        client.close()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_embedder(tmp_path / "model")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MISTWATCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class TestExport:
    def test_it_is_written_as_alike_and_then_as_the_next_version(self, model: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        status, said, errors = called("export", "--model", model, "--out", out)
        assert (status, errors) == (0, "")
        assert said == f"{out / 'alike'}: version 1, 0 MB; serve it with: mistwatch serve --repository {out}\n"
        status, said, _ = called("export", "--model", model, "--out", out)
        assert status == 0
        assert said.endswith(f"or at once with: mistwatch versions use {out} 2 --model alike --triton HOST:PORT\n")

    def test_it_gets_the_name_that_is_chosen(self, model: Path, tmp_path: Path) -> None:
        assert called("export", "--model", model, "--out", tmp_path / "out", "--as", "looks")[0] == 0
        assert versions.served_models(tmp_path / "out") == ["looks"]

    @pytest.mark.parametrize("options", [("--into", "motion"), ("--engine", "torch"), ("--max-batch", "4")])
    def test_options_of_detectors_are_one_line(self, model: Path, tmp_path: Path, options: tuple[str, str]) -> None:
        status, said, errors = called("export", "--model", model, "--out", tmp_path / "out", *options)
        assert (status, said) == (2, "")
        assert errors == (
            "mistwatch: --into, --engine, --max-batch, --share-backbone: leave them out; "
            f"{model} is an embedding model, which has no parts and one engine\n"
        )
        assert not (tmp_path / "out").exists()

    def test_a_bad_name_is_one_line(self, model: Path, tmp_path: Path) -> None:
        status, _, errors = called("export", "--model", model, "--out", tmp_path / "out", "--as", "../up")
        assert status == 2
        assert errors.startswith("mistwatch: the served model's name must be 1 to 100 letters, digits, - and _")
        assert errors.count("\n") == 1

    def test_names_of_detectors_are_refused_and_the_other_way_round(self, model: Path, tmp_path: Path) -> None:
        out, detector = tmp_path / "out", motion_model(tmp_path / "gate", "gate-motion")
        assert called("export", "--model", detector, "--out", out, "--as", "gate")[0] == 0
        assert called("export", "--model", model, "--out", out)[0] == 0
        for wrong, name, why in (
            (model, "gate", "serves a detector"),
            (detector, "alike", "serves embeddings"),
        ):
            status, said, errors = called("export", "--model", wrong, "--out", out, "--as", name)
            assert (status, said) == (1, "")
            assert errors.startswith(f"mistwatch: {out / name} {why}, and {wrong} is ")
            assert errors.count("\n") == 1
        assert [versions.versions(out / name) for name in ("gate", "alike")] == [[1], [1]]

    def test_it_holds_no_parts(self, model: Path, tmp_path: Path) -> None:
        out, detector = tmp_path / "out", motion_model(tmp_path / "gate", "gate-motion")
        assert called("export", "--model", model, "--out", out)[0] == 0
        status, said, errors = called("export", "--model", detector, "--out", out, "--into", "alike")
        assert (status, said) == (1, "")
        assert str(out / "alike") in errors
        assert errors.count("\n") == 1

    def test_damaged_weights_are_one_line(self, model: Path, tmp_path: Path) -> None:
        (model / "embedder.safetensors").write_bytes(b"nothing")
        status, said, errors = called("export", "--model", model, "--out", tmp_path / "out")
        assert (status, said) == (1, "")
        assert errors.startswith(f"mistwatch: {model / 'embedder.safetensors'}: not a safetensors file (")
        assert errors.count("\n") == 1
        assert not (tmp_path / "out").exists()


class TestVersions:
    def test_they_are_listed_chosen_and_rolled_back(self, model: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        called("export", "--model", model, "--out", out)
        called("export", "--model", write_embedder(tmp_path / "next", seed=1, similarity=0.5), "--out", out)
        cards = [read_embedding_card(folder) for folder in (model, tmp_path / "next")]
        assert called("versions", "list", out) == (
            0,
            f"1          alike-tiny (embeddings {cards[0].version}), similarity 0.75\n"
            f"2  served  alike-tiny (embeddings {cards[1].version}), similarity 0.5\n",
            "",
        )
        assert called("versions", "rollback", out)[0] == 0
        assert versions.served(out / "alike") == 1
        assert called("versions", "use", out, 2)[0] == 0
        assert versions.served(out / "alike") == 2

    def test_a_damaged_card_hides_no_other_version(self, model: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        for _ in range(2):
            called("export", "--model", model, "--out", out)
        (out / "alike" / "1" / "model-card.json").write_text("{}")
        status, said, _ = called("versions", "list", out)
        assert status == 0
        assert "name: Field required" in said.splitlines()[0]
        assert said.splitlines()[1].startswith("2  served  alike-tiny (embeddings ")

    def test_it_has_no_parts(self, model: Path, tmp_path: Path) -> None:
        called("export", "--model", model, "--out", tmp_path / "out")
        status, _, errors = called("versions", "list", tmp_path / "out", "--part", "gate")
        assert status == 2
        assert "has no part 'gate' (it hosts none)" in errors


class TestRepositories:
    def test_an_embedding_model_is_not_a_detector_to_watch_with(self, model: Path) -> None:
        message = f"^{model} is an embedding model, which scores no clips; expected a detector$"
        for asked in (str(model), f"{model}@1"):
            with pytest.raises(UsageError, match=message), serving(asked):
                pass

    @pytest.mark.realparts
    def test_it_is_served_together_with_a_detector(self, model: Path, tmp_path: Path, cache: Path) -> None:
        models = {"gate": str(motion_model(tmp_path / "gate", "gate-motion")), "looks": str(model)}
        with serving_together(models) as folder, TritonServer(folder, log=tmp_path / "triton.log") as server:
            assert served_model(server.grpc_address, "gate").name == "gate-motion"
            found = describe(server.grpc_address, "looks")
        assert (found.name, found.version) == ("looks", read_embedding_card(model).version)

    def test_the_cache_has_it(self, model: Path, cache: Path) -> None:
        repository = repository_of(str(model))
        assert repository.is_relative_to(cache)
        assert versions.served_models(repository) == ["alike"]

    @pytest.mark.realparts
    def test_serve_serves_it(self, model: Path, cache: Path) -> None:
        ports = ["--grpc-port", "0", "--http-port", "0", "--metrics-port", "0"]
        command = [sys.executable, "-P", "-m", "pipeline.cli", "serve", "--model", str(model), *ports]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                assert line.startswith("Triton is ready: gRPC ")
                address = line.removeprefix("Triton is ready: gRPC ").partition(",")[0]
                assert describe(address).version == read_embedding_card(model).version
            finally:
                process.terminate()
            assert process.wait(60) == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("served"))
    server.start()
    yield server
    server.stop()


@pytest.mark.realparts
def test_a_running_triton_loads_a_version_and_another_and_goes_back(
    server: Server, model: Path, tmp_path: Path
) -> None:
    where = ["--triton", server.address]
    status, said, errors = called("export", "--model", model, "--out", server.repository, *where)
    assert (status, errors) == (0, "")
    assert said.endswith(f"Triton at {server.address} serves version 1 of alike\n")
    other = write_embedder(tmp_path / "next", seed=1)
    assert called("export", "--model", other, "--out", server.repository, *where)[0] == 0
    assert describe(server.address).version == read_embedding_card(other).version
    status, said, errors = called("versions", "rollback", server.repository, "--model", "alike", *where)
    assert (status, said, errors) == (0, f"Triton at {server.address} serves version 1 of alike\n", "")
    found = describe(server.address)
    assert (found.version, found.served_version) == (read_embedding_card(model).version, "1")


@pytest.mark.realparts
def test_a_version_that_does_not_load_is_taken_back(server: Server, tmp_path: Path) -> None:
    where = ["--as", "broken", "--triton", server.address]
    assert called("export", "--model", write_embedder(tmp_path / "a"), "--out", server.repository, *where)[0] == 0
    target = server.repository / "broken"
    assert called("export", "--model", tmp_path / "a", "--out", server.repository, "--as", "broken")[0] == 0
    (target / "2" / "embedder.npz").write_bytes(b"nothing")
    versions.serve(target, 1)
    status, said, errors = called(
        "versions", "use", server.repository, 2, "--model", "broken", "--triton", server.address
    )
    assert (status, said) == (1, "")
    assert errors.endswith(f"; {target} is back at version 1\n")
    assert errors.count("\n") == 1
    assert describe(server.address, "broken").served_version == "1"
