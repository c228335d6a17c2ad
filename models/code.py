"""The code that decides a result, derived from imports.

A stage names the module in which its work stands, and depends on every module of ours that this one imports, directly
or through others. A stage that depends on too much is narrowed by moving its work into a module that imports less.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import sys
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

_OUR_PACKAGES = ("operators", "pipeline", "models")

#: Modules that never decide a result: errors, logs, durable files, and checks of files that have a known hash.
NEVER_DECIDES = (
    "models.backbones.weights",
    "models.code",
    "models.jobs.errors",
    "models.tensors",
    "pipeline.errors",
    "pipeline.files",
    "pipeline.logs",
)


def code_modules(entries: Sequence[str], *, without: Collection[str] = ()) -> list[str]:
    """Return the full names of the modules of ours that ``entries`` are made of, sorted; none of them is imported.

    Imports inside functions count. Imports for type checking alone (``if TYPE_CHECKING:``) do not.

    Args:
        entries: full names of modules, which are part of the result.
        without: modules or packages that are not followed, beside :data:`NEVER_DECIDES`.

    Raises:
        ValueError: an entry does not exist, or has no source.
    """
    return sorted(_modules(entries, without))


def code_digest(entries: Sequence[str], *, without: Collection[str] = ()) -> str:
    """Return the SHA-256 of the syntax trees of :func:`code_modules`.

    Comments, docstrings, layout and the texts of raised errors do not matter. Neither do the modules' names and the
    places from which they import one another: kept work survives a move of its code into another folder.

    Raises:
        ValueError: an entry does not exist, or has no source.
    """
    trees = sorted(module.tree for module in _modules(entries, without).values() if module.tree)
    return hashlib.sha256(json.dumps(trees).encode()).hexdigest()


class _Module(NamedTuple):
    """Inputs of a digest from one module.

    Attributes:
        imports: names of ours that it imports; those of a ``from`` import may be no modules.
        tree: its syntax tree as text, without what does not decide a result; empty for an empty package.
    """

    imports: tuple[str, ...]
    tree: str


def _modules(entries: Sequence[str], without: Collection[str]) -> dict[str, _Module]:
    """Return the modules by their names."""
    left_out = {*NEVER_DECIDES, *without}
    modules: dict[str, _Module] = {}
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        if name in modules or not left_out.isdisjoint(_with_parents(name)):
            continue
        if (file := _source(name)) is not None:
            modules[name] = _parse(file.read_text(encoding="utf-8"))
            waiting += modules[name].imports
        elif name in entries:
            raise ValueError(f"{name}: no module with a source")
    return modules


@cache  # the stages of a job share most of their modules, and one takes 10 ms
def _parse(source: str) -> _Module:
    tree = ast.parse(source)
    imports = tuple(_imports(tree))
    bare = _Bare().visit(tree)
    return _Module(imports, _dump(bare) if bare.body else "")


def _dump(tree: ast.AST) -> str:
    """Return a syntax tree as text, as Python 3.11 writes it, so that no digest depends on Python's version."""
    for node in ast.walk(tree):
        if not getattr(node, "type_params", True):  # a field since Python 3.12
            del node.type_params  # type: ignore[attr-defined]
    if sys.version_info >= (3, 13):
        return ast.dump(tree, show_empty=True)
    return ast.dump(tree)


class _Bare(ast.NodeTransformer):
    """Removes what does not decide a result from a module's syntax tree."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if _is_ours(node.module or ""):
            node.module = "ours"
        return node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if _for_types(node) else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc.args = []
        return node

    def _without_docstring(self, node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        match node.body:
            case [ast.Expr(ast.Constant(str())), *rest]:
                node.body = rest
        return self.generic_visit(node)

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _without_docstring  # noqa: N815


def _imports(node: ast.AST) -> Iterator[str]:
    """Yield the names of ours that are imported below a node; those of a ``from`` import may be no modules."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and _for_types(child):
            continue
        names: list[str] = []
        if isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom) and child.module:
            names = [child.module, *(f"{child.module}.{alias.name}" for alias in child.names)]
        for name in filter(_is_ours, names):
            yield from _with_parents(name)  # importing a module runs the packages that hold it
        yield from _imports(child)


def _for_types(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" and not node.orelse


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in _OUR_PACKAGES


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: length + 1]) for length in range(len(parts))]


def _source(name: str) -> Path | None:
    """Return the source of a module; None where it has none, or where the name is not a module's."""
    top, *rest = name.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    if not spec.submodule_search_locations:
        return Path(spec.origin) if not rest else None
    place = Path(spec.submodule_search_locations[0]).joinpath(*rest)
    candidates = (place / "__init__.py", place.with_suffix(".py"))
    return next((file for file in candidates if file.is_file()), None)
