"""A process that sends clips to a Triton: ``python shared_clips_client.py ADDRESS [hold]``.

It sends clips of the brightness model one by one until its log names the way that they go, then five more. Its output
is a line of JSON: the log's ``transport`` and ``reason``, and the largest error of a score. With ``hold`` it then sends
a clip that takes the model a second, prints ``{"holds": true}``, and waits to be killed.
"""

from __future__ import annotations

import json
import sys
import threading
import time

import numpy as np
from structlog.testing import capture_logs

from pipeline.scoring.target import Target
from pipeline.scoring.transport import Answer, Failure, TritonTransport

SHAPE = (4, 16, 16, 3)


def score(transport: TritonTransport, pixels: np.ndarray, *, slow: int = 0) -> Answer | Failure:
    """Return the answer to one clip whose service time is ``slow`` × 10 ms."""
    answered, answers = threading.Event(), []
    pixels[0, 0, 0] = (slow, 0, 0)
    options = {"scene": None, "mask": None, "heat": False, "features": False, "timeout_seconds": 30.0}
    transport.infer(
        Target("clip_scorer"), pixels, **options, on_answer=lambda answer: (answers.append(answer), answered.set())
    )
    answered.wait(60)
    return answers[0]


def main(address: str, then: str = "") -> None:
    transport = TritonTransport(address, shared_clips=4)
    rng = np.random.default_rng(0)
    worst, left = 0.0, 5
    with capture_logs() as lines:
        while left:
            pixels = rng.integers(0, 256, SHAPE, np.uint8)
            answer = score(transport, pixels)
            worst = max(worst, abs(answer.score - pixels.mean() / 255))
            left -= bool(lines)
            time.sleep(0.02)
    line = lines[0]
    print(json.dumps({"transport": line["transport"], "reason": line["reason"], "worst": worst}), flush=True)
    if then == "hold":
        threading.Thread(
            target=score, args=(transport, np.zeros(SHAPE, np.uint8)), kwargs={"slow": 100}, daemon=True
        ).start()
        time.sleep(0.3)
        print(json.dumps({"holds": True}), flush=True)
        time.sleep(600)
    transport.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
