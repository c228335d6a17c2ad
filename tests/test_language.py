"""Help texts, error messages, docstrings and documents are plain technical English.

The patterns are the worst habits that an editing pass removed; CONTRIBUTING.md has the rules. Counts are per 1,000
lines where a word may be right now and then.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

ROOMS = ("operators", "pipeline", "models", "deploy")
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs")

#: Never in a text that a user reads.
DIALECT = {
    "told": r"\b(told|tells?|telling)\b",
    "nobody": r"\b(some|any|no)body\b|\bwhoever\b",
    "is no": r"\b(is|are|was|were) no (?!longer\b|more\b)",
    "fronted of": r"^Of (all|each|the|what|that)\b",
    "headless clause": r"^(What|Whatever|Whoever) ",
    "so many": r"\bso many\b",
    "in vain": r"\bin vain\b",
    "anew": r"\banew\b",
}
#: How a docstring must not open.
OPENING = re.compile(r"(What|Which|Where|How|Whether|Whose|Whoever|Whatever)\b")


def sources(root: Path) -> list[Path]:
    return sorted(file for room in ROOMS for file in (root / room).rglob("*.py"))


def documents(root: Path) -> list[Path]:
    places = [root / name for name in DOCUMENTS]
    return sorted(file for place in places for file in ([place] if place.is_file() else place.rglob("*.md")))


def dialect(text: str) -> list[str]:
    """Return the names of the patterns in ``text``."""
    return [name for name, pattern in DIALECT.items() if re.search(pattern, text, re.IGNORECASE)]


def help_texts(command: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield (where, text) for a command, its parameters and its subcommands."""
    yield path, command.help or ""
    for parameter in command.params:
        yield f"{path} {parameter.name}", getattr(parameter, "help", None) or ""
    for name, sub in getattr(command, "commands", {}).items():
        yield from help_texts(sub, f"{path} {name}")


def error_literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, text) for every string inside a ``raise``; the parts of an f-string one by one."""
    for statement in ast.walk(tree):
        if isinstance(statement, ast.Raise) and statement.exc is not None:
            for node in ast.walk(statement.exc):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.lineno, node.value


def docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def test_help_texts() -> None:
    from pipeline.cli.main import app

    found = list(help_texts(typer.main.get_command(app), "mistwatch"))
    assert len(found) > 100
    assert [(where, text, bad) for where, text in found if (bad := dialect(text))] == []


def test_error_messages(root: Path) -> None:
    found = [
        (f"{file.relative_to(root)}:{line}", text, bad)
        for file in sources(root)
        for line, text in error_literals(ast.parse(file.read_text(encoding="utf-8")))
        if (bad := dialect(text))
    ]
    assert found == []


def test_docstrings_open_with_a_verb_or_a_noun(root: Path) -> None:
    """Fewer than one docstring in 1,000 lines opens with a question word."""
    texts = {file: file.read_text(encoding="utf-8") for file in sources(root)}
    found = [
        f"{file.relative_to(root)}:{line}"
        for file, source in texts.items()
        for line, text in docstrings(ast.parse(source))
        if OPENING.match(text)
    ]
    lines = sum(source.count("\n") for source in texts.values())
    assert len(found) < lines / 1000, found


def test_reports_and_callbacks_are_not_told(root: Path) -> None:
    """Fewer than one "told" in 1,000 lines of code and of documents."""
    for files in (sources(root), documents(root)):
        texts = {file: file.read_text(encoding="utf-8") for file in files}
        found = [
            f"{file.relative_to(root)}: {hit}"
            for file, text in texts.items()
            for hit in re.findall(r".*\btold\b.*", text)
        ]
        assert len(found) < sum(text.count("\n") for text in texts.values()) / 1000, found


def test_documents(root: Path) -> None:
    words = ("nobody", "fronted of", "in vain")
    found = [
        f"{file.relative_to(root)}:{number}: {line}"
        for file in documents(root)
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if set(dialect(line)) & set(words)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("What cannot be replayed is listed.", ["headless clause"]),
        ("Of all that is drawn.", ["fronted of"]),
        ("port 0 is no camera's", ["is no"]),
        ("it is no longer there", []),
        ("nobody needs to be there", ["nobody"]),
        ("told the camera and the error", ["told"]),
        ("Random seed.", []),
    ],
)
def test_the_patterns_themselves(text: str, names: list[str]) -> None:
    assert dialect(text) == names
