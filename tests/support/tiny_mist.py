"""A training job that takes a second: films of noise that flickers where something happens, and a backbone's stand-in.

As a program, ``python tiny_mist.py FILMS OUT``, it is a job of its own. With ``--forked`` behind it, it is one for each
line that it reads, as the imports take longer than the job; the first that comes to the export stays in it.
"""

from __future__ import annotations

import os
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from models.card import CARD_FILE
from models.data.extraction import Engine
from models.data.maps import MapStore
from models.detectors.mist.config import MistConfig, PseudoLabelChoice
from models.detectors.mist.encoder import WEIGHTS_FILE
from models.detectors.mist.encoder_recipe import EncoderRecipe
from models.detectors.mist.footage import Footage
from models.detectors.mist.generator_recipe import Recipe
from models.detectors.mist.job import train_mist
from models.jobs.video_plan import VideoChoice
from models.serving import versions
from models.serving.export import SERVED_NAME
from pipeline.manifests.manifest import Video
from pipeline.windows import ClipSpec, StoredClip

CONFIG = MistConfig(
    name="tiny",
    data={"licence": "none"},
    clip=StoredClip.from_spec(ClipSpec(frames=4, stride=4, height=16, width=16)),
    training_stride=2,
    recipe=Recipe(
        name="tiny",
        loss="reference",
        top_k=2,
        sub_bags=2,
        sub_bag_clips=2,
        epochs=3,  # scores are not yet all but 0 and 1
        learning_rate=0.002,
    ),
    videos=VideoChoice(hold_out=3),
    pseudo_labels=PseudoLabelChoice(kernel=3),
    encoder=EncoderRecipe(
        epochs=4,
        hidden=4,
        detectors=2,
        dropout=0.2,
        batch=4,
        accumulation=1,
        warm_up_epochs=1,
        learning_rate=0.01,
    ),
    folds=2,
    seeds=1,
    draws=20,
)


def film(path: Path, flickers: bool, seed: int, *, frames: int = 14) -> None:
    """Grey noise of 32×32 at 25 frames a second; what flickers does so from the fifth frame on."""
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        for ordinal in range(frames):
            grey = 100 + (80 if flickers and ordinal > 4 and ordinal % 2 else 0)
            picture = av.VideoFrame.from_ndarray(
                rng.integers(grey, grey + 40, (32, 32, 3), dtype=np.uint8), format="rgb24"
            )
            picture.pts = ordinal
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def films(folder: Path, count: int = 12) -> list[Video]:
    """Films by two for each camera, every second one abnormal; those that are there are taken."""
    videos = []
    for i in range(count):
        path = folder / f"{i:02}.mp4"
        if not path.exists():
            film(path, bool(i % 2), i)
        videos.append(Video(path.resolve(), i % 2, group=f"camera {i // 2}"))
    return videos


def _maps(clips):
    """The mean of each colour and of its change from frame to frame, over and over in all channels."""
    values = clips.astype(np.float32)
    told = np.concatenate([values.mean((1, 2, 3)), np.abs(np.diff(values, axis=1)).mean((1, 2, 3))], axis=1) / 128
    early = np.tile(told, (1, 139))[:, :832, None, None, None] * np.ones((1, 1, 4, 2, 2), np.float32)
    middle = np.zeros((len(clips), 832, 2, 1, 1), np.float32)  # no recipe of these tests reads it
    late = np.tile(told, (1, 171))[:, :1024, None, None, None] * np.ones((1, 1, 2, 1, 1), np.float32)
    return early, middle, late


def footage(config: MistConfig, cache: Path) -> Footage:
    """What the networks see of the films, by the stand-in."""
    return Footage(config, store=MapStore(config.training_clip, folder=cache, engine=Engine("stand-in", 4, _maps)))


def export(product: Path, repository: Path) -> None:
    """As the real one puts a version in, without what a network is converted to."""
    draft = repository / ".draft"
    draft.mkdir(parents=True)
    for name in (CARD_FILE, WEIGHTS_FILE):
        (draft / name).write_bytes((product / name).read_bytes())
    (draft / versions.CONFIG_FILE).write_text(f'name: "{SERVED_NAME}"\n')
    versions.add(repository / SERVED_NAME, draft)


def job(videos, out: Path, config: MistConfig = CONFIG, *, cache: Path | None = None, **options):
    """Run it."""
    return train_mist(videos, config, out, footage=footage(config, cache or out.parent / "maps"), **options)


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    where, to = map(Path, sys.argv[1:3])
    stopped = to.parent / "stopped in the export"

    def stopping(product: Path, repository: Path) -> None:
        export(product, repository)
        if not stopped.exists():
            stopped.touch()
            time.sleep(600)

    def run(**options) -> None:
        job(films(where), to, report=lambda line: print(line, flush=True), **options)

    if sys.argv[3:] != ["--forked"]:
        run()
    else:
        for _ in sys.stdin:
            if not (child := os.fork()):
                print(f"process: {os.getpid()}", flush=True)
                run(export=stopping)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            print(f"ended: {os.waitstatus_to_exitcode(status)}", flush=True)
