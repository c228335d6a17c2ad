"""``mistwatch export --into`` and ``versions --part``: parts of cameras, as an operator handles them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import brightness_family
import numpy as np
import pytest
from in_process import called
from parts_of_brightness import HOST, as_of_other_code, use_programs
from site_runs import BRIGHT, write_video

from deploy.triton.server import TritonServer
from models.serving import versions
from pipeline.cli.repository import serving
from pipeline.runs.folder import read_run
from pipeline.scoring.served_model import served_model

Command = Callable[..., tuple[object, str, str]]


@pytest.fixture
def mistwatch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """The command in this process, in a folder of its own: status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    use_programs(monkeypatch)
    return called


def product(camera: str, level: float) -> Path:
    """Write a detector of a camera, and return its folder."""
    folder = Path(f"{camera}-{level}")
    brightness_family.train(folder, level, camera=camera)
    return folder


def test_parts_are_added_listed_and_rolled_back(mistwatch: Command) -> None:
    export = ("export", "--out", "models", "--into", HOST, "--model")
    status, said, errors = mistwatch(*export, product("gate", 0.2))
    assert (status, errors) == (0, "")
    assert said.startswith(
        f"models/{HOST}/parts/gate: version 1, 0.0 MB; serve it with: mistwatch serve --repository m"
    )
    assert mistwatch(*export, product("yard", 0.6))[1].endswith(
        "; a Triton that serves bright scores with it from now on\n"
    )
    mistwatch(*export, product("gate", 0.4))
    assert mistwatch("versions", "list", "models")[1].splitlines() == [
        "1  served  hosts the parts of 2 cameras",
        "gate:",
        "  1          bright (levels), threshold 0.5",
        "  2  served  bright (levels), threshold 0.5",
        "yard:",
        "  1  served  bright (levels), threshold 0.5",
    ]
    status, said, errors = mistwatch("versions", "rollback", "models", "--part", "gate")
    assert (status, said, errors) == (0, f"models/{HOST}/parts/gate: version 1 scores from now on\n", "")
    assert mistwatch("versions", "list", "models", "--part", "gate")[1].splitlines()[0].startswith("1  served")
    assert mistwatch("versions", "use", "models", "2", "--part", "gate")[0] == 0
    status, _, errors = mistwatch("versions", "rollback", "models", "--part", "yard")
    assert (status, errors.count("\n")) == (2, 1)
    assert "parts/yard serves version 1 and has served no other before" in errors


def test_a_hosting_model_of_other_code_is_renewed(mistwatch: Command) -> None:
    export = ("export", "--out", "models", "--into", HOST, "--model")
    mistwatch(*export, product("gate", 0.2))
    as_of_other_code(Path("models") / HOST)
    status, said, errors = mistwatch(*export, product("yard", 0.6), "--max-batch", 4)
    assert (status, said) == (2, "")
    assert errors == f"mistwatch: --max-batch: got 4, and models/{HOST} has 8; leave it out, or name another --into\n"
    status, said, errors = mistwatch(*export, product("yard", 0.4), "--max-batch", 8)
    assert (status, errors) == (0, "")
    assert said.splitlines() == [
        f"models/{HOST}: version 2 has the code of this mistwatch, for the parts of all cameras (gate)",
        f"models/{HOST}/parts/yard: version 1, 0.0 MB; at a running Triton it is used from the next start on, or "
        f"after: mistwatch versions use models 2 --model {HOST} --triton HOST:PORT",
    ]
    status, said, errors = mistwatch("versions", "rollback", "models")
    assert status == 0
    needs = (
        f"mistwatch: the parts of yard need a later version of {HOST} and are not scored by version 1; roll each back "
        "with --part\n"
    )
    assert errors == needs
    assert mistwatch("versions", "use", "models", "1", "--part", "yard") == (0, "", needs)
    status, said, errors = mistwatch("versions", "use", "models", "1", "--part", "gate")
    assert (status, said, errors) == (0, f"models/{HOST}/parts/gate: version 1 scores from now on\n", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("versions", "list", "models", "--part", "door"), "has no part 'door' (it has: gate)"),
        (("versions", "use", "models", "7", "--part", "gate"), "parts/gate has no version 7 (there are: 1)"),
        (("versions", "rollback", "models", "--part", "../parts/gate"), "has no part '../parts/gate' (it has: gate)"),
        (
            ("export", "--out", "models", "--into", HOST, "--as", "x"),
            "--into: leave out --as, --engine and --share-backbone",
        ),
        (("export", "--out", "models", "--into", "../x"), "the served model's name must be 1 to 100 letters"),
        (
            ("export", "--out", "models", "--into", HOST, "--model", "fights"),
            "belongs to no camera; export it with --as",
        ),
    ],
)
def test_an_impossible_request_is_one_line(mistwatch: Command, words: tuple[str, ...], message: str) -> None:
    mistwatch("export", "--out", "models", "--into", HOST, "--model", product("gate", 0.2))
    status, said, errors = mistwatch(*words)
    assert (said, errors.count("\n")) == ("", 1)
    assert status in (1, 2)
    assert message in errors


@pytest.mark.realparts
def test_a_running_triton_confirms_and_a_part_that_it_cannot_open_is_taken_back(mistwatch: Command) -> None:
    """The hosting model is made beside another model that Triton serves, and loaded by the first export."""
    mistwatch("export", "--out", "models", "--as", "other", "--model", product("door", 0.2))
    with TritonServer(Path("models"), log=Path("triton.log")) as server:
        export = ("export", "--out", "models", "--into", HOST, "--triton", server.grpc_address, "--model")
        status, said, errors = mistwatch(*export, product("gate", 0.2))
        assert (status, errors) == (0, "")
        assert said.splitlines()[1] == (
            f"Triton at {server.grpc_address} scores with version 1 of the part gate of {HOST}"
        )
        assert mistwatch(*export, product("gate", 0.4))[0] == 0
        assert served_model(server.grpc_address, HOST, part="gate").version == "1.2"
        gate = Path("models") / HOST / "parts" / "gate"
        (gate / "1" / "scorer.npz").write_bytes(b"PK")
        choose = ("versions", "use", "models", "1", "--model", HOST, "--part", "gate", "--triton", server.grpc_address)
        status, said, errors = mistwatch(*choose)
        assert (status, said, errors.count("\n")) == (1, "", 1)
        assert "part gate: version 1 cannot be opened" in errors
        assert errors.endswith(f"models/{HOST}/parts/gate is back at version 2\n")
        assert versions.served(gate) == 2
        assert served_model(server.grpc_address, HOST, part="gate").version == "1.2"
        as_of_other_code(Path("models") / HOST)
        status, said, errors = mistwatch(*export, product("yard", 0.6))
        assert (status, errors) == (0, "")
        assert said.splitlines()[1] == f"Triton at {server.grpc_address} serves version 2 of {HOST}"
        assert served_model(server.grpc_address, HOST, part="gate").version == "2.2"


@pytest.mark.realparts
def test_a_replay_is_scored_by_one_part(mistwatch: Command) -> None:
    for camera, level in (("gate", 0.2), ("yard", 0.6)):
        mistwatch("export", "--out", "models", "--into", HOST, "--model", product(camera, level))
    film = write_video(Path("film.mp4"), [(1, BRIGHT)])
    with TritonServer(Path("models"), log=Path("triton.log")) as server:
        Path("site.yaml").write_text(
            f"triton: {{address: '{server.grpc_address}', model: {HOST}}}\n"
            "cameras: {gate: {source: a.mp4}, yard: {source: b.mp4}}\n"
        )
        status, _, errors = mistwatch("replay", film, "--config", "site.yaml", "--out", "unclear")
        assert (status, errors) == (
            2, f"mistwatch: the model {HOST} hosts the parts of several cameras: choose one with --part CAMERA "
            "(calibrate: --camera)\n",
        )  # fmt: skip
        # The film's name is that of the site's other camera.
        gate = write_video(Path("gate.mp4"), [(1, BRIGHT)])
        status, _, errors = mistwatch("replay", gate, "--config", "site.yaml", "--part", "yard", "--out", "none")
        assert (status, errors) == (
            2, "mistwatch: the recordings are of the cameras gate, and yard's part would score them; expected those of "
            "yard alone, or --part gate\n",
        )  # fmt: skip
        status, _, errors = mistwatch("replay", film, "--config", "site.yaml", "--part", "../yard", "--out", "none")
        assert (status, errors.count("\n")) == (2, 1)
        assert errors.startswith("mistwatch: --part '../yard': a name begins with a letter or digit")
        status, _, errors = mistwatch("replay", film, "--config", "site.yaml", "--part", "yard", "--out", "run")
        assert status == 0, errors
        status, _, errors = mistwatch("replay", film, "--config", "site.yaml", "--part", "door", "--out", "none")
        assert status == 1
        assert f"model {HOST}, part door: the model has no such part" in errors
    run = read_run(Path("run"))
    assert (run.settings.model.name, run.settings.model.version) == ("bright", "1.1")
    (scores,) = (clips.score for clips in run.clips.values())
    np.testing.assert_allclose(scores, BRIGHT / 255 - 0.6, atol=0.02)


@pytest.mark.realparts
def test_a_part_that_needs_code_which_triton_has_not_loaded_is_taken_back(mistwatch: Command) -> None:
    """Triton scores on with the former version of the part, which it has open."""
    export = ("export", "--out", "models", "--into", HOST, "--model")
    mistwatch(*export, product("gate", 0.2))
    with TritonServer(Path("models"), log=Path("triton.log")) as server:
        assert served_model(server.grpc_address, HOST, part="gate").version == "1.1"
        as_of_other_code(Path("models", HOST))
        assert mistwatch(*export, product("gate", 0.4))[0] == 0
        assert served_model(server.grpc_address, HOST, part="gate").version == "1.1"
        assert mistwatch("versions", "rollback", "models", "--part", "gate")[0] == 0
        use = ("versions", "use", "models", "2", "--triton", server.grpc_address)
        status, said, errors = mistwatch(*use, "--part", "gate")
        assert (status, said, errors.count("\n")) == (1, "", 1)
        kept = f"has loaded version 1 of {HOST}, whose code keeps version 1 of the part gate; expected version 2: "
        assert kept in errors
        assert errors.endswith(f"; models/{HOST}/parts/gate is back at version 1\n")
        assert mistwatch(*use)[0] == 0
        assert mistwatch(*use, "--part", "gate")[0] == 0
        assert served_model(server.grpc_address, HOST, part="gate").version == "2.2"


@pytest.mark.realparts
def test_a_version_of_a_hosting_model_is_served_with_its_parts(mistwatch: Command) -> None:
    """By links, as ``--model REPOSITORY@VERSION`` does."""
    mistwatch("export", "--out", "models", "--into", HOST, "--model", product("gate", 0.2))
    versions.add(Path("models", HOST), _copy(Path("models", HOST, "1")))
    with serving("models@1") as folder, TritonServer(folder, log=Path("triton.log")) as server:
        assert served_model(server.grpc_address, HOST, part="gate").version == "1.1"


def _copy(version: Path) -> Path:
    import shutil

    return Path(shutil.copytree(version, "models/.draft"))
