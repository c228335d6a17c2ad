"""A function of a test module in a Python process of its own, without the threads of the tests that ran before.

Loaders of batches fork. The process of the tests has threads of gRPC, of Kafka clients and of decoders by then, and
such a fork once ended it without a word; a training has none of them.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]

_PROGRAM = """
import importlib.util, json, sys
sys.path[:0] = json.loads(sys.argv[1])
specification = importlib.util.spec_from_file_location("fresh", sys.argv[2])
module = importlib.util.module_from_spec(specification)
sys.modules["fresh"] = module
specification.loader.exec_module(module)
print("\\n" + json.dumps(getattr(module, sys.argv[3])(*json.loads(sys.argv[4]))))
"""


def called(function: Callable[..., Any], *arguments: object) -> Any:
    """Return what a function at the top of a test module returns; arguments and result are JSON."""
    words = [json.dumps([str(Path(__file__).parent)]), inspect.getfile(function), function.__name__]
    command = [sys.executable, "-c", _PROGRAM, *words, json.dumps(arguments)]
    ended = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])
