"""Compare the precisions of the encoder: PyTorch eager, OpenVINO in float32, bfloat16 and int8, and through Triton.

    python bench/precision.py [--rounds 10]

appends a run to bench/results/performance/precision.jsonl. A clip is one pass of the plain encoder, 16 × 224². The
model has I3D's published weights and a random head, and is exported as any model is, with rendered courtyards as
validation videos. Through Triton, four requests are in flight. The processor's peak is measured in the same rounds: one
large convolution, in float32 and in int8, through the same engine. About 4 minutes on two quiet cores.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import tritonclient.grpc as triton
from alternately import Ratio, alternate, append, ratio
from torch import Tensor, nn

from deploy.triton.server import TritonServer
from models.backbones import weights
from models.backbones.i3d import ClipEncoder, load_i3d
from models.card import Alerting, read_card, write_card
from models.detectors.mist.card import Architecture, Backbone, MistCard
from models.detectors.mist.generator import Generator, save_generator
from models.detectors.mist.served import ClipScorer
from models.engines.openvino import OpenVinoNetwork, cpu_capabilities
from models.engines.openvino_convert import Input, to_openvino
from models.engines.precision import Precision
from models.engines.quantised import Ranges, layer_names, quantise
from models.serving.accuracy import validation_clips
from models.serving.engine import Engine, open_engine
from models.serving.export import export
from models.serving.precision_wish import PrecisionWish
from pipeline.courtyard.settings import SceneSettings
from pipeline.manifests.courtyard import recordings, write_data_set
from pipeline.manifests.manifest import Video
from pipeline.windows import StoredClip

IN_FLIGHT = 4
#: Clips of each work in a round, so that each takes a second or two.
EAGER, IN_PROCESS, SERVED = 2, 4, 8
#: Side, channels and kernel of the convolution whose speed stands for the processor's peak.
PEAK_SIDE, PEAK_CHANNELS, PEAK_KERNEL = 64, 512, 3
BACKBONE = "i3d-kinetics400"
Clips = npt.NDArray[np.uint8]


def random_generator() -> Generator:
    """Return the random head, the same each time."""
    torch.manual_seed(20)
    generator = Generator(Architecture(inputs=1024))
    with torch.no_grad():  # as it is drawn, all clips score alike
        for layer in generator.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(8)
    return generator


def make_model(folder: Path) -> None:
    """Write a model of the plain encoder with the random head."""
    generator = random_generator()
    folder.mkdir()
    card = MistCard(
        name="plain",
        description="random weights, for a bench",
        architecture=generator.architecture,
        backbone=Backbone(name=BACKBONE, tensors_sha256=weights.published(BACKBONE).tensors_sha256),
        weights_sha256=save_generator(generator, folder),
        clip=StoredClip(frames=16, stride=16, fps=12.5, height=224, width=224, fit="stretch"),
        alerting=Alerting(kernel=3, open_threshold=0.6, close_threshold=0.4),
        training={},
        figures={},
    )
    write_card(card, folder)


def rendered(folder: Path) -> Sequence[Video]:
    """Render sixteen courtyards of 1.5 s: a clip each, eight of them for calibration."""
    planned = recordings(folder, SceneSettings(7000, seconds=1.5, incidents_per_minute=0), videos=16, abnormal=0)
    return write_data_set(folder, planned, jobs=2).videos


class Peak(nn.Module):
    """One large convolution of values that are not negative, and an output of one number."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(PEAK_CHANNELS, PEAK_CHANNELS, PEAK_KERNEL, padding=PEAK_KERNEL // 2)

    def forward(self, values: Tensor) -> Tensor:
        return torch.relu(self.conv(torch.relu(values))).amax(dim=(1, 2, 3))[:, None]


PEAK_GFLOP = 2 * (PEAK_CHANNELS**2) * PEAK_KERNEL**2 * PEAK_SIDE**2 / 1e9


def peaks() -> dict[str, Callable[[], object]]:
    """Return the peak's convolution in float32 and in int8."""
    shape = (PEAK_CHANNELS, PEAK_SIDE, PEAK_SIDE)
    network = to_openvino(Peak().eval(), {"VALUES": Input(shape, torch.float32)}, ["OUT"])
    producer = next(one.get_friendly_name() for one in network.get_ordered_ops() if one.get_type_name() == "Relu")
    int8 = quantise(network, Ranges({producer: (0.0, 1.0)}, tuple(layer_names(network))))
    values = {"VALUES": np.random.default_rng(0).random((1, *shape), dtype=np.float32)}
    opened = {name: OpenVinoNetwork(one, threads=2) for name, one in (("peak_f32", network), ("peak_int8", int8))}
    return {name: partial(one.run, values) for name, one in opened.items()}


def gflop(network: Any) -> float:
    """Return the multiplications and additions of a network's convolutions for one clip, in 10⁹."""
    total = 0
    for operator in network.get_ordered_ops():
        if operator.get_type_name() == "Convolution":
            outputs = [dimension.get_length() for dimension in list(operator.get_output_partial_shape(0))[1:]]
            kernel = [dimension.get_length() for dimension in list(operator.get_input_partial_shape(1))[1:]]
            total += 2 * int(np.prod(outputs)) * int(np.prod(kernel))
    return total / 1e9


def cheaper(frames: int, side: int) -> Callable[[], object]:
    """Return the pass of the plain encoder over a clip of another size, in float32."""
    encoder = ClipEncoder(load_i3d(classifier=False)).eval()
    network = OpenVinoNetwork(to_openvino(encoder, {"CLIP": Input((frames, side, side, 3))}, ["FEATURES"]), threads=2)
    clip = np.random.default_rng(1).integers(0, 256, (1, frames, side, side, 3), dtype=np.uint8)
    return lambda: network.run(clip)


def infer(client: triton.InferenceServerClient, model: str, clip: Clips) -> float:
    tensor = triton.InferInput("CLIP", list(clip.shape), "UINT8")
    tensor.set_data_from_numpy(clip)
    return float(client.infer(model, [tensor]).as_numpy("SCORE")[0, 0])


def send(clients: Sequence[triton.InferenceServerClient], model: str, clips: Clips, count: int) -> None:
    """Send single clips, a request at a time from each client."""
    left = iter(range(count))
    lock = threading.Lock()

    def work(client: triton.InferenceServerClient) -> None:
        while True:
            with lock:
                at = next(left, None)
            if at is None:
                return
            infer(client, model, clips[at % len(clips)][None])

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def loop(engine: Engine, clips: Clips, count: int) -> None:
    for at in range(count):
        engine.score(clips[at % len(clips)][None])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as held:
        results = measured(Path(held), options.rounds)
    print_table(results)
    append("precision", results)


def measured(folder: Path, rounds: int) -> dict[str, Any]:
    """Return the results of one run."""
    make_model(folder / "plain")
    videos = tuple(rendered(folder / "films"))
    repository = folder / "models"
    export(str(folder / "plain"), repository, name="fp32")
    int8 = PrecisionWish(Precision.INT8, videos, "rendered courtyards", force=True)
    export(str(folder / "plain"), repository, name="int8", precision=int8, progress=print)
    size = (16, 224, 224, 3)
    card = read_card(folder / "plain")
    clips = np.stack(
        [clip.pixels for clip in validation_clips(videos[:4], card, None)]
    )  # scores of noise are all alike
    engines = {
        name: open_engine("openvino", repository / name / "1", size, precision=name) for name in ("fp32", "int8")
    }
    if "BF16" in cpu_capabilities():
        engines["bf16"] = open_engine("openvino", repository / "fp32" / "1", size, precision="bf16")
    else:
        print("bf16: skipped, this processor has no bfloat16 (AVX512-BF16 or AMX)")
    eager = ClipScorer(load_i3d(classifier=False), random_generator()).eval()
    tensors = torch.from_numpy(clips)

    def in_torch() -> None:
        with torch.inference_mode():
            for at in range(EAGER):
                eager(tensors[at : at + 1])

    with torch.inference_mode():
        expected = eager(tensors)[0][:, 0].numpy()
    with TritonServer(repository) as server:
        clients = [triton.InferenceServerClient(server.grpc_address) for _ in range(IN_FLIGHT)]
        counted: dict[str, tuple[int, Callable[[], object]]] = {"eager": (EAGER, in_torch)}
        for name, engine in engines.items():
            counted[f"{name}_in_process"] = (IN_PROCESS, partial(loop, engine, clips, IN_PROCESS))
        for name in ("fp32", "int8"):
            counted[f"{name}_served"] = (SERVED, partial(send, clients, name, clips, SERVED))
        counted["fp32_112"], counted["fp32_half_rate"] = (1, cheaper(16, 112)), (1, cheaper(8, 224))
        counted |= {name: (1, work) for name, work in peaks().items()}
        taken = alternate({name: work for name, (_, work) in counted.items()}, rounds=rounds)
        served = {name: [infer(clients[0], name, clip[None]) for clip in clips] for name in ("fp32", "int8")}
        for client in clients:
            client.close()
    each = {name: [seconds / counted[name][0] for seconds in of] for name, of in taken.items()}
    scores = {f"{name}_in_process": engine.score(clips).scores for name, engine in engines.items()}
    scores |= {f"{name}_served": np.array(found) for name, found in served.items()}
    encoder = ClipEncoder(load_i3d(classifier=False)).eval()
    work = gflop(to_openvino(encoder, {"CLIP": Input(size)}, ["FEATURES"]))
    return summary(each, scores, expected, work) | {"gate": gate_of(repository / "int8")}


def gate_of(model: Path) -> dict[str, Any]:
    """Return the cost that the accuracy gate measured at the export."""
    served = read_card(model).served
    assert served is not None
    assert served.cost is not None
    return served.cost.model_dump(mode="json", include={"largest_move", "mean_move", "calibration_clips", "videos"})


def summary(
    each: dict[str, list[float]], scores: dict[str, npt.NDArray[Any]], expected: npt.NDArray[Any], work: float
) -> dict[str, Any]:
    """Return the results: ratios of seconds a clip, differences of scores, the processor's peak and the share of it.

    Args:
        each: seconds of one clip, or of the peak's convolution, in each round.
        scores: of the same clips by each way; ``expected`` are torch's.
        work: of the encoder for a clip, 10⁹ operations.
    """
    median = {name: float(np.median(seconds)) for name, seconds in each.items()}
    peak = {name: PEAK_GFLOP / median[f"peak_{name}"] for name in ("f32", "int8")}
    ratios: dict[str, Ratio] = {
        f"eager_over_{name}": ratio(each["eager"], seconds)
        for name, seconds in each.items()
        if name != "eager" and not name.startswith("peak")
    }
    for name in ("fp32", "int8"):
        ratios[f"{name}_loop_over_served"] = ratio(each[f"{name}_in_process"], each[f"{name}_served"])
    return {
        **ratios,
        "milliseconds": {
            name: round(1000 * seconds, 1) for name, seconds in median.items() if not name.startswith("peak")
        },
        "largest_score_difference": {
            name: round(float(np.abs(found - expected).max()), 6) for name, found in scores.items()
        },
        "encoder_gflop": round(work, 1),
        "peak_f32_gflop_s": round(peak["f32"], 1),
        "peak_int8_gop_s": round(peak["int8"], 1),
        "share_of_peak_fp32": round(work / median["fp32_in_process"] / peak["f32"], 3),
        "share_of_peak_int8": round(work / median["int8_in_process"] / peak["int8"], 3),
    }


def print_table(results: dict[str, Any]) -> None:
    """Print a line for each thing that was measured."""
    for name, value in results.items():
        if isinstance(value, Ratio):
            print(f"{name:36} {value}")
    for name in ("milliseconds", "largest_score_difference", "gate"):
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in results[name].items()))
    print(
        f"one clip is {results['encoder_gflop']} GFLOP; peak {results['peak_f32_gflop_s']} GFLOP/s in float32, "
        f"{results['peak_int8_gop_s']} in int8; the encoder reaches {results['share_of_peak_fp32']:.0%} and "
        f"{results['share_of_peak_int8']:.0%} of it"
    )


if __name__ == "__main__":
    main()
