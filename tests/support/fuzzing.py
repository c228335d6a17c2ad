"""Fuzzing: mutations of valid documents and bytes, and the one allowed outcome: a value, or an error of ours in a line.

``MISTWATCH_FUZZ_INPUTS`` is the number of inputs of the whole run; each target takes its share of it.
"""

from __future__ import annotations

import copy
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from deploy.errors import DeployError
from pipeline.errors import MistwatchError

Value = TypeVar("Value")

#: Inputs of a whole run, where the environment names no other number: the bounded form.
INPUTS = int(os.environ.get("MISTWATCH_FUZZ_INPUTS") or 1000)

#: Limit of one input, seconds: a hang, with room for a busy machine.
LIMIT_SECONDS = 20.0

#: Inputs so far, by target.
counts: Counter[str] = Counter()
#: Those that ended in an error of ours.
refused: Counter[str] = Counter()

#: Values that parsers stumble over.
ODD: SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**400, 0.0, -0.0, 1e308, 5e-324]),
    st.sampled_from([float("nan"), float("inf"), -float("inf")]),
    st.floats(),
    st.integers(),
    st.sampled_from(["", " ", "\n", "a\nb", "\x00", "\x1b[2J", "‮", "﻿", "..", "../../etc/passwd", "/", "~", "null"]),
    st.sampled_from(
        ["NaN", "1e999", "0x10", "１２", "true", "yes", "*a", "&a", "!!python/object:os.system", "{{", "%s"]
    ),
    st.sampled_from(["[" * 20_000, '{"a":' * 20_000, "1" * 5000]),
    st.sampled_from(["x" * 5000, "é" * 300, "\ud800", "2026-13-40T25:61:61Z", "9999-12-31T23:59:59.999999-23:59"]),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
    st.just([[[[[[[[[[]]]]]]]]]]),
    st.just({"a": {"a": {"a": {}}}}),
)


def share(part: float) -> settings:
    """Return settings for a target that takes this part of the run's inputs."""
    return settings(
        max_examples=max(10, round(INPUTS * part)),
        deadline=None,
        database=None,
        phases=[Phase.generate],  # shrinking an input that is slow takes longer than the run
        suppress_health_check=list(HealthCheck),
    )


def fuzz(part: float, /, **strategies: SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a test that takes inputs: this part of the run's."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        return share(part)(given(**strategies)(test))

    return decorate


def outcome(target: str, call: Callable[[], Value], *allowed: type[BaseException]) -> Value | None:
    """Return the call's value, or None after an error of ours, whose text is checked. Anything else is a finding.

    Args:
        allowed: further errors that the function's docstring names.
    """
    counts[target] += 1
    began = time.monotonic()
    value: Value | None = None
    text = ""
    try:
        value = call()
    except (MistwatchError, DeployError) as error:
        refused[target] += 1
        text = str(error) or f"an error without a text: {type(error)}\n\x00"
    except allowed:
        refused[target] += 1
    for line in text.split("\n"):  # a line a problem
        assert line.isprintable(), f"a control character in {line!r}"
        assert "Traceback" not in line
    assert time.monotonic() - began < LIMIT_SECONDS, "an input took too long"
    return value


@st.composite
def mutated(draw: DrawFn, documents: Sequence[Any]) -> Any:
    """A valid document with up to four mutations: values, keys, structure."""
    document = copy.deepcopy(draw(st.sampled_from(list(documents))))
    for _ in range(draw(st.integers(0, 4))):
        places = list(_places(document))
        if not places:
            return copy.deepcopy(draw(ODD))
        holder, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(["replace", "replace", "remove", "rename", "move", "repeat", "text"])):
            case "replace":
                holder[key] = copy.deepcopy(draw(ODD))
            case "remove":
                del holder[key]
            case "rename" if isinstance(holder, dict):
                holder[draw(st.one_of(st.text(max_size=8), st.sampled_from([str(each) for _, each in places])))] = (
                    holder.pop(key)
                )
            case "move":
                other, at = draw(st.sampled_from(places))
                other[at] = copy.deepcopy(holder[key])
            case "repeat":
                holder[key] = [copy.deepcopy(holder[key])] * draw(st.integers(2, 5))
            case "text" if isinstance(holder[key], str):
                holder[key] = draw(mutated_text([holder[key]]))
            case _:
                holder[key] = copy.deepcopy(draw(ODD))
    return document


def _places(node: Any) -> Any:
    if isinstance(node, dict):
        keys: Any = list(node)
    elif isinstance(node, list):
        keys = range(len(node))
    else:
        return
    for key in keys:
        yield node, key
        yield from _places(node[key])


@st.composite
def mutated_text(draw: DrawFn, texts: Sequence[str]) -> str:
    """A valid text with pieces removed, repeated, replaced or inserted."""
    text = draw(st.sampled_from(list(texts)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 30)))
        piece = draw(st.sampled_from(["", text[start:end] * 3]) | st.text(max_size=6) | st.sampled_from(_SIGNS))
        text = text[:start] + piece + text[end:]
    return text


_SIGNS = [
    "\r\n",
    "\x00",
    ":",
    "@",
    "/",
    "//",
    "?",
    "#",
    "%",
    "%zz",
    "[",
    "]",
    "::",
    ",",
    '"',
    "'",
    "\\",
    "..",
    "{",
    "}",
]
_SIGNS += ["\t", "=", ";", "é", "\u2028", "\x7f", "-1", "999999999999999999999", "*", "&", "!", "|", "<", ">", "~"]


@st.composite
def mutated_bytes(draw: DrawFn, contents: Sequence[bytes]) -> bytes:
    """Valid bytes with some flipped, removed, inserted or cut off."""
    content = bytearray(draw(st.sampled_from(list(contents))))
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, len(content)))
        match draw(st.sampled_from(["flip", "cut", "insert", "remove", "repeat", "nest"])):
            case "flip" if start < len(content):
                content[start] = draw(st.integers(0, 255))
            case "cut":
                del content[start:]
            case "insert":
                content[start:start] = draw(st.binary(max_size=8))
            case "nest":
                content[start:start] = draw(st.sampled_from([b"[", b"{", b'{"a":', b"- "])) * 1500
            case "remove":
                del content[start : start + draw(st.integers(1, 20))]
            case _:
                content[start:start] = content[start : start + 40] * 2
    return bytes(content)
