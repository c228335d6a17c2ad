"""Measure I3D on one GPU: clips per second by batch and precision, and the share of the card's matrix peak.

    python bench/gpu.py [--seconds 1] [--most 128]

Adds a run to bench/results/performance/gpu.jsonl. Without a GPU that torch can use, it says so and exits 1. Clips are
16 × 224 × 224 uint8 and lie in this machine's memory, so that the copy to the card counts. The matrix peak is that of
a product of two large matrices in the same precision on the same card. The network is compiled once for each batch.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import alternately
import numpy as np
import torch
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from models.backbones.i3d import I3D, ClipEncoder
from models.engines.batches import CANDIDATES, suitable
from models.engines.torch import TYPES, EngineError, TorchNetwork

CLIP = (16, 224, 224, 3)
MATRIX = 8192  #: rows and columns of the product that measures the peak
_WARM_RUNS = 3  #: the compiled network records its graph in the second one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="time of each measurement")
    parser.add_argument("--most", type=int, default=max(CANDIDATES), help="largest batch")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(1, f"{parser.prog}: torch finds no GPU here; nothing was measured\n")
    console = Console(stderr=True)
    compile_each_batch()
    results: dict[str, Any] = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "clip_tflop": round(floating_point_operations() / 1e12, 4),
        "precisions": {precision: of_precision(precision, options, console) for precision in TYPES},
    }
    alternately.append("gpu", results)
    print(table(results), end="")


def compile_each_batch() -> None:
    """Have torch compile as many shapes as there are batches, and raise beyond that instead of going on uncompiled."""
    torch._dynamo.config.recompile_limit = len(CANDIDATES)
    torch._dynamo.config.fail_on_recompile_limit_hit = True


def floating_point_operations(clip: tuple[int, ...] = CLIP) -> int:
    """Return the floating-point operations of I3D for one clip, a multiplication and its addition counted as two."""
    with torch.device("meta"):
        network, clips = ClipEncoder(I3D(classes=0)), torch.empty(1, *clip, dtype=torch.uint8)
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        network(clips)
    return int(counter.get_total_flops())


def of_precision(precision: str, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Return clips per second by batch, as it is and compiled, and the matrix peak, TFLOP/s."""
    found: dict[str, Any] = {"peak_tflops": round(matrix_peak(precision, options.seconds) / 1e12, 1)}
    for name, compiled in (("as_it_is", False), ("compiled", True)):
        torch._dynamo.reset()  # it counts compilations of the same code: those of the precision before, too
        console.print(f"{precision}, {name.replace('_', ' ')}")
        network = TorchNetwork(
            ClipEncoder(I3D(classes=0)).eval(), ("FEATURES",), "cuda", precision=precision, compiled=compiled
        )
        found[name] = {size: round(rate, 1) for size, rate in rates(network, options.most, options.seconds, console)}
    return found


def rates(network: TorchNetwork, most: int, seconds: float, console: Console) -> Iterator[tuple[int, float]]:
    """Yield clips per second for each batch, as long as there is memory."""
    for size in (size for size in CANDIDATES if size <= most):
        clips = np.random.default_rng(size).integers(0, 256, (size, *CLIP), dtype=np.uint8)
        try:
            yield size, size * runs_per_second(lambda clips=clips: network.run(clips), seconds)  # type: ignore[misc]
        except EngineError as error:
            console.print(f"batch {size}: {error}")
            return
        except Exception as error:  # the compiler of torch has many of its own
            console.print(f"batch {size}: {type(error).__name__}: {str(error).splitlines()[:1]}")
            return


def runs_per_second(run: Callable[[], object], seconds: float) -> float:
    for _ in range(_WARM_RUNS):
        run()
    began, count = time.perf_counter(), 0
    while (took := time.perf_counter() - began) < seconds:
        run()
        count += 1
    return count / took


def matrix_peak(precision: str, seconds: float) -> float:
    """Return the floating-point operations per second of a product of matrices."""
    kind = TYPES[precision] or torch.float32
    first, second = (torch.randn(MATRIX, MATRIX, device="cuda", dtype=kind) for _ in range(2))

    def run() -> None:
        torch.mm(first, second)
        torch.cuda.synchronize()

    return 2 * MATRIX**3 * runs_per_second(run, seconds)


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        f"{results['gpu']}, torch {results['torch']}, {results['clip_tflop']:.3f} TFLOP a clip",
        "",
        "| precision | batch | clips/s | compiled, clips/s | share of the matrix peak |",
        "|---|--:|--:|--:|--:|",
    ]
    for precision, found in results["precisions"].items():
        for size, rate in found["as_it_is"].items():
            compiled = found["compiled"].get(size)
            share = max(rate, compiled or 0) * results["clip_tflop"] / found["peak_tflops"]
            lines.append(f"| {precision} | {size} | {rate} | {compiled or '—'} | {share:.1%} |")
        best = found["compiled"] or found["as_it_is"]
        if best:
            lines.append(
                f"| {precision} | suitable: {suitable({size: size / rate for size, rate in best.items()})} | | | |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
