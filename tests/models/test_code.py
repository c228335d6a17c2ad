"""The code that decides a result: which modules count, and which changes of them."""

from __future__ import annotations

import hashlib
import json
import textwrap
from pathlib import Path

import pytest

from models.code import code_digest, code_modules


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write sources by their module names, as packages of the project; their folder comes first on the path."""
    monkeypatch.setattr("models.code._OUR_PACKAGES", ("house",))
    monkeypatch.setattr("models.code.NEVER_DECIDES", ("house.errors",))
    monkeypatch.syspath_prepend(tmp_path)

    def write(**sources: str) -> None:
        for name, source in sources.items():
            file = tmp_path / "house" / f"{name.replace('__', '/')}.py"
            for folder in (file.parent, tmp_path / "house"):
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "__init__.py").touch()
            file.write_text(textwrap.dedent(source), encoding="utf-8")

    return write


def named(entry: str, **options) -> set[str]:
    """Return the modules that count, without the empty packages."""
    return {name.removeprefix("house.") for name in code_modules([entry], **options)} - {"house", "deep"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import house.a", {"a", "b"}),
        ("from house import a", {"a", "b"}),
        ("from house.a import f", {"a", "b"}),
        ("def later():\n    from house.b import g", {"b"}),
        ("from house.deep.c import h", {"deep.c", "b"}),
        ("if TYPE_CHECKING:\n    from house.a import f", set()),
        ("if TYPE_CHECKING:\n    x = 1\nelse:\n    from house.b import g", {"b"}),
        ("from house.errors import Mine", set()),
        ("import json\nfrom elsewhere.b import g", set()),
    ],
)
def test_a_module_counts_that_is_imported_wherever_it_is(ours, source, expected):
    ours(
        a="from house.b import g", b="x = 1", deep__c="from house import b", errors="from house import a", entry=source
    )
    assert named("house.entry") == {"entry", *expected}


def test_what_is_left_out_is_not_followed(ours):
    ours(a="from house.b import g", b="x = 1", deep__c="import house.b", entry="import house.a, house.deep.c")
    assert named("house.entry", without=["house.a", "house.deep"]) == {"entry"}
    assert named("house.entry", without=["house.a"]) == {"entry", "deep.c", "b"}


def test_modules_that_import_one_another_end(ours):
    ours(a="import house.b", b="import house.a")
    assert named("house.a") == named("house.b") == {"a", "b"}


PLAIN = (
    "from house.a import f\n\n\ndef g(x):\n    if x:\n        raise ValueError(f'{x}: expected 0')\n    return f(x)\n"
)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda source: '"""About."""\n' + source.replace("def g(x):", 'def g(x):\n    """Say."""\n    # why'), True),
        (lambda source: source.replace("expected 0", "must be 0"), True),
        (lambda source: source.replace("house.a", "house.moved"), True),
        (lambda source: "if TYPE_CHECKING:\n    import house.b\n" + source, True),
        (lambda source: source.replace("f(x)", "f(x + 1)"), False),
        (lambda source: source.replace("ValueError", "KeyError"), False),
        (lambda source: source.replace("if x", "if not x"), False),
        (lambda source: source.replace("import f", "import h as f"), False),
        (lambda source: source.replace("house.a", "elsewhere.a"), False),
    ],
)
def test_a_change_counts_if_it_may_change_the_result(ours, change, same):
    ours(a="def f(x): return x", moved="def f(x): return x", b="y = 1", entry=PLAIN)
    before = code_digest(["house.entry"])
    ours(entry=change(PLAIN))
    assert (code_digest(["house.entry"]) == before) is same


def test_a_change_of_an_imported_module_counts(ours):
    ours(a="def f(x): return x", entry=PLAIN)
    before = code_digest(["house.entry"])
    ours(a="def f(x): return 2 * x")
    assert code_digest(["house.entry"]) != before


@pytest.mark.parametrize("entry", ["house.missing", "no_such_package", "json.decoder.x"])
def test_an_entry_without_a_source_is_refused(ours, entry):
    ours(a="")
    with pytest.raises(ValueError, match=f"{entry}: no module with a source"):
        code_digest([entry])


def test_a_digest_does_not_depend_on_pythons_version(ours):
    """Python 3.12 has added a field to functions and classes, and 3.13 leaves out empty lists."""
    ours(entry="def f(): pass\nclass C: pass")
    nothing = "posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[]"
    tree = (
        f"Module(body=[FunctionDef(name='f', args=arguments({nothing}), body=[Pass()], decorator_list=[]), "
        "ClassDef(name='C', bases=[], keywords=[], body=[Pass()], decorator_list=[])], type_ignores=[])"
    )
    assert code_digest(["house.entry"]) == hashlib.sha256(json.dumps([tree]).encode()).hexdigest()
