"""Every command in the documents exists: ``mistwatch …`` with its options, ``make …``, scripts and files.

Blocks of shell are read line by line, and code within a sentence where it begins with a command.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs")
_BLOCK = re.compile(r"^ *```(?:sh|shell|console)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")
#: Words that end a command of the shell.
_ENDS = {"|", "||", "&&", "&", ";", ">", ">>", "2>"}
_SETTING = re.compile(r"[A-Z_]+=.*")


def documents(root: Path) -> list[Path]:
    """Return the Markdown files that a reader gets."""
    places = [root / name for name in DOCUMENTS]
    return sorted(file for place in places for file in ([place] if place.is_file() else place.rglob("*.md")))


@cache
def commands() -> Any:
    """Return mistwatch's tree of commands."""
    from pipeline.cli.main import app

    return typer.main.get_command(app)


def lines_of(text: str) -> Iterator[str]:
    """Yield the commands of a document: lines of its shell blocks, and code within its sentences."""
    for block in _BLOCK.findall(text):
        yield from (line.strip() for line in block.replace("\\\n", " ").splitlines())
    for span in _SPAN.findall(_FENCED.sub("", text)):
        line = " ".join(span.split())
        words = line.split()
        if words and words[0] in commands().commands and any(word.startswith("--") for word in words):
            line = f"mistwatch {line}"
        yield line


def words_of(line: str) -> list[str]:
    """Return the words of a line up to the end of its first command, without settings of the environment."""
    shell = shlex.shlex(line, posix=True, punctuation_chars="|&;>")
    shell.whitespace_split, shell.commenters = True, "#"
    try:
        words = list(shell)
    except ValueError:  # a sentence's apostrophe, or half a line
        words = line.split()
    end = next((place for place, word in enumerate(words) if word in _ENDS), len(words))
    words = words[:end]
    while words and _SETTING.fullmatch(words[0]):
        words = words[1:]
    return words


def wrong_with(words: list[str], root: Path) -> str | None:
    """Return the part of a command that does not exist, None where all of it does or it is not ours."""
    if not words:
        return None
    if words[0] == "mistwatch":
        return _wrong_with_mistwatch(words[1:])
    if words[0] == "make":
        targets = set(re.findall(r"^([a-z0-9-]+):", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        named = [word.rstrip(",") for word in words[1:2] if re.fullmatch(r"[a-z][a-z0-9-]*", word)]
        return next((f"target {name}" for name in named if name not in targets), None)
    if words[0] == "python" and len(words) > 1 and words[1].endswith(".py"):
        return None if (root / words[1]).is_file() else f"script {words[1]}"
    return None


def _wrong_with_mistwatch(words: list[str]) -> str | None:
    command = commands()
    while words and (subcommands := getattr(command, "commands", None)):
        name = words[0].rstrip(",")
        if not re.fullmatch(r"[a-z][a-z-]*", name):
            break  # an ellipsis, an option of the program itself
        if name not in subcommands:
            return f"command {name}"
        command, words = subcommands[name], words[1:]
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)} | {"--help"}
    options = [word.split("=")[0] for word in words if word.startswith("--") and len(word) > 2]
    return next((f"option {option}" for option in options if option not in known), None)


def test_every_command_in_the_documents_exists(root: Path) -> None:
    found, count = [], 0
    for file in documents(root):
        for line in lines_of(file.read_text(encoding="utf-8")):
            words = words_of(line)
            count += words[:1] == ["mistwatch"]
            if wrong := wrong_with(words, root):
                found.append(f"{file.relative_to(root)}: {line}: no {wrong}")
    assert found == []
    assert count > 100  # else the patterns find nothing


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("mistwatch watch clip.mp4 --threshold 0.5  # a comment", None),
        ("mistwatch watch clip.mp4 --treshold 0.5", "option --treshold"),
        ("mistwatch wotch clip.mp4", "command wotch"),
        ("mistwatch alerts tale --json", "command tale"),
        ("mistwatch alerts tail --json | jq .id --tab", None),
        ("MISTWATCH_PASSWORD=… mistwatch run --konfig site.yaml", "option --konfig"),
        ("make demo", None),
        ("make demmo", "target demmo"),
        ("make test PYTEST_ARGS=-x", None),
        ("python bench/nothing.py --run", "script bench/nothing.py"),
    ],
)
def test_what_is_wrong_with_a_command(line: str, wrong: str | None, root: Path) -> None:
    assert wrong_with(words_of(line), root) == wrong


def test_code_within_a_sentence_may_leave_out_the_program() -> None:
    assert list(lines_of("Use `learn --detector fused` or\n`train classifier`.")) == [
        "mistwatch learn --detector fused",
        "train classifier",
    ]


def test_the_reference_has_every_operator(root: Path) -> None:
    page = (root / "docs" / "api" / "operators.rst").read_text(encoding="utf-8")
    files = (root / "operators").rglob("*.py")
    modules = {".".join(file.relative_to(root).with_suffix("").parts) for file in files if file.name != "__init__.py"}
    assert set(re.findall(r"automodule:: (\S+)", page)) == modules
