"""Measure what two detectors on one backbone cost together, against each with a backbone of its own.

    python bench/shared.py [--rounds 12]

Adds a run to bench/results/performance/shared.jsonl. Comparisons take turns (:mod:`alternately`), and every turn on
I3D has a new clip:

* two detectors on I3D, clips of 16 × 224 × 224: the committed ``fights``, which reads a standing scene, and a generator
  with drawn weights; in process, and through two Tritons, with both requests of a clip sent at once as a worker does;
  On a busy machine two processes get twice the time of one, so that of the processors is compared, too;
* ``fights`` alone through Triton, on a shared backbone: the price of a backbone that a single detector stands on;
* two memory banks of one camera on EfficientNet-Lite0, in process: the network once for both, and once for each.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import alternately
import numpy as np
import numpy.typing as npt
import torch
import tritonclient.grpc as triton
from parts import memory_bank_product, memory_mb, processes_of
from rich.console import Console

from deploy.triton.server import TritonServer
from models.backbones import weights
from models.backbones.efficientnet_lite0 import NAME
from models.card import BUILT_IN, read_card, write_card
from models.detectors.base import read_detector
from models.detectors.mist.card import Architecture, Backbone, MistCard
from models.detectors.mist.generator import Generator, save_generator
from models.detectors.program import ServedProgram, SharingScorer
from models.serving.contract import EngineChoice
from models.serving.engine import Engine, open_engine
from models.serving.export import export
from models.serving.over_backbone import NamedBackbone, open_beside
from models.serving.versions import backbone_of
from pipeline.errors import MistwatchError

CLIP = (16, 224, 224, 3)
DETECTORS = ("fights", "drawn")
#: Above this share saved with two detectors, sharing is built.
WORTH = 0.2
ANSWER_SECONDS = 120.0
Clips = npt.NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    console = Console(stderr=True)
    try:
        with tempfile.TemporaryDirectory(prefix="mistwatch-bench-") as scratch:
            results = {**of_programs(Path(scratch), options.rounds, console)}
            apart, shared = repositories(Path(scratch), console)
            results |= in_process(apart, shared, options.rounds, console)
            results |= served(apart, shared, options.rounds, console)
    except MistwatchError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    alternately.append("shared", results)
    print(table(results), end="")


def repositories(scratch: Path, console: Console) -> tuple[Path, Path]:
    """Return repositories of the two detectors: each with its own backbone, and both on one."""
    models = {"fights": BUILT_IN / "fights", "drawn": drawn_generator(scratch / "drawn")}
    for name, model in models.items():
        console.print(f"export {name}")
        export(str(model), scratch / "apart", name=name, engine=EngineChoice.OPENVINO)
        export(str(model), scratch / "shared", name=name, share_backbone=True)
    return scratch / "apart", scratch / "shared"


def drawn_generator(folder: Path) -> Path:
    """Write a generator with drawn weights on I3D's last layer, for the clips of ``fights``."""
    folder.mkdir()
    torch.manual_seed(1)
    generator = Generator(Architecture())
    fights = read_card(BUILT_IN / "fights", MistCard)
    card = MistCard(
        name="drawn",
        description="drawn weights",
        architecture=generator.architecture,
        backbone=Backbone(name=fights.backbone.name, tensors_sha256=fights.backbone.tensors_sha256),
        weights_sha256=save_generator(generator, folder),
        clip=fights.clip,
        alerting=fights.alerting,
        training={},
        figures={},
    )
    write_card(card, folder)
    return folder


def fresh_clips(seed: int) -> Iterator[Clips]:
    """Yield clips, uint8 (1, *CLIP), each one new."""
    rng = np.random.default_rng(seed)
    while True:
        yield rng.integers(0, 256, (1, *CLIP), dtype=np.uint8)


def in_process(apart: Path, shared: Path, rounds: int, console: Console) -> dict[str, Any]:
    """Return the ratio of two backbones to one, and the greatest difference of a score."""
    console.print("two detectors in process")
    own = [open_engine("openvino", apart / name / "1", CLIP) for name in DETECTORS]
    (backbone,) = {backbone_of(shared / name / "1") for name in DETECTORS}
    assert backbone is not None
    opened = open_beside(shared / DETECTORS[0] / "1", NamedBackbone(backbone, ()))
    heads = [open_engine("openvino", shared / name / "1", CLIP, backbone=lambda _: opened) for name in DETECTORS]
    clips, scene = fresh_clips(2), np.zeros(CLIP[1:], np.uint8)

    def score(engines: list[Engine], clip: Clips) -> list[float]:
        scenes = [[scene] if engine.reads_scene else None for engine in engines]
        return [float(engine.score(clip, of)[0][0]) for engine, of in zip(engines, scenes, strict=True)]

    taken = alternately.alternate(
        {"apart": lambda: score(own, next(clips)), "shared": lambda: score(heads, next(clips))}, rounds=rounds
    )
    some = [next(clips) for _ in range(4)]
    difference = np.abs(np.array([score(own, one) for one in some]) - [score(heads, one) for one in some]).max()
    return {
        "i3d_in_process": alternately.ratio(taken["apart"], taken["shared"]),
        "i3d_score_difference": float(difference),
    }


def served(apart: Path, shared: Path, rounds: int, console: Console) -> dict[str, Any]:
    """Return the ratios through two Tritons, for two detectors and for one, and the memory of each Triton."""
    console.print("two detectors through Triton")
    clips, scene = fresh_clips(3), np.zeros((1, *CLIP[1:]), np.uint8)
    with TritonServer(apart) as first, TritonServer(shared) as second, ThreadPoolExecutor(len(DETECTORS)) as pool:
        clients = [triton.InferenceServerClient(server.grpc_address) for server in (first, second)]

        def ask(client: triton.InferenceServerClient, name: str, clip: Clips) -> None:
            inputs = {"CLIP": clip} | ({"SCENE": scene} if name == "fights" else {})
            tensors = []
            for of, values in inputs.items():
                tensors.append(triton.InferInput(of, list(values.shape), "UINT8"))
                tensors[-1].set_data_from_numpy(values)
            client.infer(name, tensors, client_timeout=ANSWER_SECONDS)

        def both(client: triton.InferenceServerClient) -> Callable[[], object]:
            def send() -> None:
                clip = next(clips)
                list(pool.map(lambda name: ask(client, name, clip), DETECTORS))

            return send

        def one(client: triton.InferenceServerClient) -> Callable[[], object]:
            return lambda: ask(client, "fights", next(clips))

        def processor() -> float:
            return processor_seconds(first) + processor_seconds(second)  # the one that is not asked is idle

        two = {"apart": both(clients[0]), "shared": both(clients[1])}
        of_two = alternately.alternate(two, rounds=rounds)
        of_two_processors = alternately.alternate(two, rounds=rounds, clock=processor)
        alone = {"apart": one(clients[0]), "shared": one(clients[1])}
        of_one = alternately.alternate(alone, rounds=rounds)
        of_one_processors = alternately.alternate(alone, rounds=rounds, clock=processor)
        memory = [memory_mb(server) for server in (first, second)]
        for client in clients:
            client.close()
    return {
        "i3d_served": alternately.ratio(of_two["apart"], of_two["shared"]),
        "i3d_served_processor": alternately.ratio(of_two_processors["apart"], of_two_processors["shared"]),
        "i3d_served_alone": alternately.ratio(of_one["apart"], of_one["shared"]),
        "i3d_served_alone_processor": alternately.ratio(of_one_processors["apart"], of_one_processors["shared"]),
        "memory_mb": {"apart": round(memory[0]), "shared": round(memory[1])},
    }


def processor_seconds(server: TritonServer) -> float:
    """Return the processor time of a server's processes."""
    ticks = 0
    for process in processes_of(server):
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # user and system
    return ticks / os.sysconf("SC_CLK_TCK")


def of_programs(scratch: Path, rounds: int, console: Console) -> dict[str, Any]:
    """Return the ratio of EfficientNet-Lite0 twice to once, for two memory banks on the same pictures."""
    console.print("two memory banks")
    weights.fetch_with_progress(NAME, console.print)
    scorers = []
    for number in range(2):
        folder = scratch / f"bank{number}"
        folder.mkdir()
        write_card(memory_bank_product(folder, f"bank{number}", np.random.default_rng(number)), folder)
        family, card = read_detector(folder)
        program = family.load(card, folder, console.print)
        assert isinstance(program, ServedProgram)
        scorers.append(cast(SharingScorer, program.open()))
    pictures = np.random.default_rng(4).integers(0, 256, (1, 1, card.clip.height, card.clip.width, 3), dtype=np.uint8)

    def together() -> None:
        common = scorers[0].common(pictures)
        for scorer in scorers:
            scorer.judge(common)

    taken = alternately.alternate(
        {
            "apart": lambda: [scorer.run(pictures) for scorer in scorers],
            "shared": together,
            "network": lambda: scorers[0].common(pictures),
        },
        rounds=4 * rounds,
    )
    return {
        "memory_banks": alternately.ratio(taken["apart"], taken["shared"]),
        "memory_bank_network_share": alternately.ratio([2 * took for took in taken["network"]], taken["apart"]),
    }


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "| two detectors, each with its own backbone, against both on one | ratio (10th to 90th percentile) |",
        "|---|--:|",
        f"| I3D, in process | {results['i3d_in_process']} |",
        f"| I3D, through Triton | {results['i3d_served']} |",
        f"| I3D, through Triton, time of the processors | {results['i3d_served_processor']} |",
        f"| one detector on a shared backbone, through Triton | {results['i3d_served_alone']} |",
        f"| the same, time of the processors | {results['i3d_served_alone_processor']} |",
        f"| two memory banks on EfficientNet-Lite0, in process | {results['memory_banks']} |",
        "",
        f"Greatest difference of a score on I3D: {results['i3d_score_difference']:.1e}. Memory of Triton (PSS): "
        f"{results['memory_mb']['apart']} MB apart, {results['memory_mb']['shared']} MB shared. The network's share of "
        f"a memory bank's time: {results['memory_bank_network_share']}. Sharing is worth building above a ratio of "
        f"{1 / (1 - WORTH):.2f}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
