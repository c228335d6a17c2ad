"""YAML that people write: a site's file, a camera's file, a value on the command line."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import yaml

#: No file of ours nests more brackets.
_DEEPEST = 200


def read_yaml(text: str) -> Any:
    """Return the value that a YAML text holds.

    Raises:
        yaml.YAMLError: not YAML, a key twice in one mapping, brackets nested too deeply, or a value that cannot exist,
            such as a date in a thirteenth month.
    """
    if _brackets_deep(text) > _DEEPEST:  # PyYAML's time grows with the square of the depth
        raise yaml.YAMLError("nested too deeply")
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  (a SafeLoader)
    except RecursionError:  # without brackets: "- - - …"
        raise yaml.YAMLError("nested too deeply") from None


class _Loader(yaml.SafeLoader):
    """Refuses a second camera or detector of one name, which YAML would let replace the first."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            name = unicodedata.normalize("NFC", key.value)  # as pipeline.names has it
            if name in seen:
                raise yaml.composer.ComposerError(None, None, f"the key {key.value!r} appears twice", key.start_mark)
            seen.add(name)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            # PyYAML passes on what datetime, int and float raise. Their words may quote a secret.
            problem = "a date or a number that does not exist; text needs quotes"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None


def _brackets_deep(text: str) -> int:
    """Return how deep the brackets of a text are nested, those in quotes and comments included."""
    depth = deepest = 0
    for sign in re.findall(r"[][{}]", text):
        depth = depth + 1 if sign in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest
