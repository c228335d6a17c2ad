"""Measure what one more camera costs a Triton whose model hosts the parts of 64 cameras.

    python bench/parts.py [--cameras 64] [--families motion memory_bank]

writes bench/results/parts.json and .md. The parts have the sizes of the default recipes and drawn values, because a
part's memory depends on its size alone. The memory is the resident size of all of Triton's processes, private pages and
its share of common ones (PSS), after each part has scored clips. Beside it stands that of a further served model which
the same detector is by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from recorded import record
from rich.console import Console
from rich.progress import track

from deploy.triton.server import TritonServer
from models.backbones import weights
from models.backbones.efficientnet_lite0 import NAME
from models.backbones.patch_descriptors import channels
from models.card import Alerting, Backbone, ModelCard, write_card
from models.detectors.memory_bank import card as memory_bank_card
from models.detectors.memory_bank import weights as memory_bank_weights
from models.detectors.memory_bank.distances import Neighbours
from models.detectors.memory_bank.recipe import MemoryBankRecipe
from models.detectors.motion import card as motion_card
from models.detectors.motion import weights as motion_weights
from models.serving.export import export
from models.serving.part_export import export_part
from operators.motion import RowStatistics
from operators.rarity import KNOTS, TAIL_FROM, Rarity
from pipeline.errors import MistwatchError
from pipeline.scoring.served_model import part_input
from pipeline.sources.base import Fit
from pipeline.windows import ClipSpec, StoredClip

RESULTS = Path(__file__).resolve().parent / "results"
ASKED_MB = 25.0  #: for one more camera
HEIGHT, WIDTH, FPS = 240, 360, 10.0  #: of the clips
CLIPS = 5  #: that each part scores before the memory is read
ANSWER_SECONDS = 120.0
MB = 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=64, help="parts in one server")
    parser.add_argument("--families", nargs="+", default=sorted(FAMILIES), choices=sorted(FAMILIES))
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of parts.json and .md")
    options = parser.parse_args()
    console = Console(stderr=True)
    try:
        weights.fetch_with_progress(NAME, console.print)
        families = {name: measured(FAMILIES[name], options.cameras, console) for name in options.families}
    except MistwatchError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    results = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": platform.machine(), "cores": len(os.sched_getaffinity(0))},
        "versions": {name: version(name) for name in ("nvidia-pytriton", "openvino", "numpy")},
        "clip": f"{HEIGHT} × {WIDTH}",
        "cameras": options.cameras,
        "asked_mb": ASKED_MB,
        "families": families,
    }
    record(options.results, "parts", results, page(results))
    print(page(results), end="")


def motion_product(folder: Path, camera: str, rng: np.random.Generator) -> ModelCard[Any]:
    """Write a motion detector of the default recipe's size."""
    rows = HEIGHT // 8
    statistics = RowStatistics(*(rng.uniform(0.5, 1, (2, rows)).astype(np.float32) for _ in range(2)))
    scale = drawn_rarity(rng)
    return motion_card.MotionCard(
        architecture=motion_card.Architecture(rows=rows, levels=len(scale.levels)),
        weights_sha256=motion_weights.save_learned(statistics, scale, folder),
        **common(camera, frames=2),
    )


def memory_bank_product(folder: Path, camera: str, rng: np.random.Generator) -> ModelCard[Any]:
    """Write a memory bank of the default recipe's size."""
    recipe = MemoryBankRecipe()
    width = channels(recipe.layers)
    scale = drawn_rarity(rng)
    bank = rng.standard_normal((recipe.bank, width)).astype(np.float32)
    return memory_bank_card.MemoryBankCard(
        architecture=memory_bank_card.Architecture(
            layers=recipe.layers,
            enlarge=recipe.enlarge,
            distance=recipe.distance,
            channels=width,
            patches=len(bank),
            levels=len(scale.levels),
        ),
        backbone=Backbone(name=NAME, tensors_sha256=weights.published(NAME).tensors_sha256),
        weights_sha256=memory_bank_weights.save_learned(Neighbours(bank), scale, folder),
        **common(camera, frames=1),
    )


FAMILIES: dict[str, Callable[[Path, str, np.random.Generator], ModelCard[Any]]] = {
    "memory_bank": memory_bank_product,
    "motion": motion_product,
}


def common(camera: str, *, frames: int) -> dict[str, Any]:
    """Return the parts of a card that all families have."""
    spec = ClipSpec(frames=frames, stride=1, height=HEIGHT, width=WIDTH, fit=Fit.STRETCH, fps=FPS)
    return {
        "name": camera,
        "description": "",
        "camera": camera,
        "clip": StoredClip.from_spec(spec),
        "alerting": Alerting(kernel=3, open_threshold=0.5, close_threshold=0.4),
        "training": {},
        "figures": {},
    }


def drawn_rarity(rng: np.random.Generator) -> Rarity:
    return Rarity(np.sort(rng.uniform(0, 1, KNOTS)), np.linspace(0, TAIL_FROM, KNOTS), 1.0)


def measured(
    product: Callable[[Path, str, np.random.Generator], ModelCard[Any]], cameras: int, console: Console
) -> dict[str, Any]:
    """Return the memory of a server with one part, with all and with one more, and that of two models by themselves."""
    with tempfile.TemporaryDirectory(prefix="mistwatch-bench-") as scratch:
        folder = Path(scratch)
        products = []
        for number in range(cameras + 1):
            products.append(folder / f"camera{number}")
            products[-1].mkdir()
            write_card(product(products[-1], products[-1].name, np.random.default_rng(number)), products[-1])
        for one in track(products[:cameras], "export", console=console):
            export_part(str(one), folder / "parts", into="host")
        for one in products[:2]:
            export(str(one), folder / "models", name=one.name)
        clip = np.random.default_rng(0).integers(0, 256, clip_size(folder), np.uint8)
        with TritonServer(folder / "parts") as server, triton.InferenceServerClient(server.grpc_address) as client:
            score(client, "host", clip, products[0].name)
            one_part = memory_mb(server)
            for part in track(products[:cameras], "score", console=console):
                score(client, "host", clip, part.name)
            all_parts = memory_mb(server)
            export_part(str(products[-1]), folder / "parts", into="host")
            score(client, "host", clip, products[-1].name)
            one_more = memory_mb(server)
        single = []
        for models in ([products[0]], products[:2]):
            names = [one.name for one in models]
            with (
                TritonServer(folder / "models", models=names) as server,
                triton.InferenceServerClient(server.grpc_address) as client,
            ):
                for name in names:
                    score(client, name, clip)
                single.append(memory_mb(server))
        part = folder / "parts" / "host" / "parts" / products[0].name / "1"
        return {
            "one_part_mb": round(one_part, 1),
            "all_parts_mb": round(all_parts, 1),
            "one_more_mb": round(one_more - all_parts, 1),
            "each_mb": round((all_parts - one_part) / (cameras - 1), 2),
            "own_model_mb": round(single[1] - single[0], 1),
            "part_on_disk_mb": round(sum(file.stat().st_size for file in part.iterdir()) / MB, 2),
        }


def clip_size(folder: Path) -> tuple[int, ...]:
    """Return the shape of a request's clip: (1, T, H, W, 3)."""
    card = json.loads((folder / "camera0" / "model-card.json").read_text())
    return (1, card["clip"]["frames"], HEIGHT, WIDTH, 3)


def score(client: triton.InferenceServerClient, model: str, clip: Any, part: str = "") -> None:
    tensor = triton.InferInput("CLIP", clip.shape, "UINT8")
    tensor.set_data_from_numpy(clip)
    for _ in range(CLIPS):
        client.infer(model, [tensor, *([part_input(part)] if part else [])], client_timeout=ANSWER_SECONDS)


def memory_mb(server: TritonServer) -> float:
    """Return the proportional resident size of a server's processes, MB."""
    return sum(proportional_bytes(process) for process in processes_of(server)) / MB


def processes_of(server: TritonServer) -> Iterator[Path]:
    """Yield the folders in /proc of the processes that work with the server's repository."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:  # it has ended
            continue
        if str(server.repository).encode() in command and b"guard.py" not in command:
            yield folder


def proportional_bytes(process: Path) -> int:
    lines = (process / "smaps_rollup").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def page(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "## One more camera in a server of many",
        "",
        f"`bench/parts.py`, {results['cameras']} parts in one hosting model, clips of {results['clip']}, on "
        f"{results['machine']['cores']} cores. Memory is the proportional resident size (PSS) of Triton's processes. "
        "*One more* is the part after the last, *each* the mean over all, *by itself* a further served model that has "
        f"the same detector. Asked: at most {results['asked_mb']:g} MB for one more.",
        "",
        "| family | part on disk, MB | one part, MB | all, MB | each, MB | one more, MB | by itself, MB |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| `{name}` | {found['part_on_disk_mb']:.1f} | {found['one_part_mb']:.0f} | {found['all_parts_mb']:.0f} | "
        f"{found['each_mb']:.1f} | {found['one_more_mb']:.1f} | {found['own_model_mb']:.0f} |"
        for name, found in results["families"].items()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
