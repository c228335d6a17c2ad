"""NumPy's files as other programs write them. Whatever is not a plain array is refused with the step that helps."""

from __future__ import annotations

import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from pipeline.plain_arrays import ArraysError, as_marks, as_row, load_arrays, load_member, names_of


class Trap:
    """An object that leaves a trace when its pickle is loaded."""

    def __init__(self, file):
        self._file = str(file)

    def __reduce__(self):
        return os.mkdir, (self._file,)


def test_an_array_and_an_archive_by_their_content(tmp_path):
    np.save(tmp_path / "one.npy", np.array([1, 2]))
    np.savez(tmp_path / "two.npz", a=np.array([0.5]), b=np.zeros((2, 3)))
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")  # the suffix does not decide
    assert load_arrays(tmp_path / "one.npz").tolist() == [1, 2]
    arrays = load_arrays(tmp_path / "two.npz")
    assert {name: values.shape for name, values in arrays.items()} == {"a": (1,), "b": (2, 3)}
    assert names_of(tmp_path / "two.npz") == ["a", "b"]
    assert load_member(tmp_path / "two.npz", "b").shape == (2, 3)


def objects(values):
    file = io.BytesIO()
    np.save(file, values, allow_pickle=True)
    return file.getvalue()


def archive(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        for name, content in members.items():
            opened.writestr(name.replace("__", "/"), content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "step"),
    [
        ("s.npy", lambda trap: objects(np.array({"a": trap})), "**np.load('s.npy', allow_pickle=True).item())"),
        (
            "s.npy",
            lambda trap: objects(np.array([trap, [1, 2]], object)),
            "**dict(zip(names, np.load('s.npy', allow_pickle=True))))",
        ),
        ("s.npz", lambda trap: archive(**{"a.npy": objects(np.array([trap]))}), "**{'a': np.array(values, float)})"),
        *(
            (
                name,
                lambda trap, protocol=protocol: pickle.dumps({"a": trap}, protocol),
                f"pickle.load(open('{name}', 'rb'))",
            )
            for name, protocol in (("s.pkl", 0), ("s.pickle", 1), ("s.pkl", 2), ("s.npy", 4), ("s.npz", 5))
        ),
        (
            "s.pt",
            lambda trap: archive(s__data=b"", **{"s/data.pkl": pickle.dumps(trap)}),
            "torch.load('s.pt', weights_only=True)",
        ),
        (
            "s.mat",
            lambda trap: b"MATLAB 5.0 MAT-file, Platform: posix".ljust(128),
            "scipy.io.loadmat('s.mat', squeeze_me=True)",
        ),
        ("s.mat", lambda trap: b"MATLAB 7.3 MAT-file, Platform: posix".ljust(512), "h5py.File('s.mat')"),
        ("s.h5", lambda trap: b"\x89HDF\r\n\x1a\n".ljust(64, b"\0"), "h5py.File('s.h5')"),
    ],
)
def test_what_would_run_code_is_not_loaded_and_the_step_is_named(tmp_path, name, content, step):
    trace = tmp_path / "trace"
    (tmp_path / name).write_bytes(content(Trap(trace)))
    with pytest.raises(ArraysError) as error:
        load_arrays(tmp_path / name)
    assert step in str(error.value)
    assert "np.savez('videos.npz', " in str(error.value)
    assert "\n" not in str(error.value)
    assert not trace.exists()


def test_the_step_for_a_dictionary_works(tmp_path, monkeypatch):
    """The step is Python: run as written, its archive holds the arrays."""
    monkeypatch.chdir(tmp_path)
    scores = {"yard": np.array([0.25, 0.5]), "gate": np.array([1.0])}
    np.save("s.npy", scores, allow_pickle=True)
    with pytest.raises(ArraysError) as error:
        load_arrays(tmp_path / "s.npy")
    eval(str(error.value).rpartition(": ")[2], {"np": np})
    assert {name: values.tolist() for name, values in load_arrays(tmp_path / "videos.npz").items()} == {
        "yard": [0.25, 0.5],
        "gate": [1.0],
    }


@pytest.mark.parametrize("content", [b"", b"no array", b"PK\x03\x04no zip", b"\x93NUMPY\x01\x00v\x00{'descr'"])
def test_other_content_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "s.npy").write_bytes(content)
    for read in (load_arrays, names_of):
        with pytest.raises(ArraysError, match=r"^not (a plain array|an archive of plain arrays)") as error:
            read(tmp_path / "s.npy")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(3,), (1, 3), (3, 1), (1, 3, 1), (0,), (0, 1), (1, 1)])
def test_a_row(shape):
    row = as_row(np.arange(np.prod(shape)).reshape(shape))
    assert row.tolist() == list(range(np.prod(shape)))


@pytest.mark.parametrize(
    "values", [np.zeros((2, 3)), np.array(1.0), np.array(["a"]), np.array([None]), np.zeros((0, 2))]
)
def test_not_a_row(values):
    assert as_row(values) is None


@pytest.mark.parametrize(
    ("values", "marks"),
    [
        ([0, 1, 1], [False, True, True]),
        ([0.0, 255.0], [False, True]),
        ([True, False], [True, False]),
        ([], []),
        ([0, 1, 255], None),
        ([0, 2], None),
        ([-1, 1], None),
        ([float("nan")], None),
    ],
)
def test_marks(values, marks):
    found = as_marks(np.array(values))
    assert (None if found is None else found.tolist()) == marks
