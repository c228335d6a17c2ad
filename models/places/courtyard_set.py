"""Pictures of the rendered courtyard as data sets of a label tree whose leaves are the courtyard's classes.

The renderer knows the leaf of each pixel. A data set of the tree gets what its annotation and its labels say of it: in
a mask, the label that means the leaf or the nearest node above; of boxes, one box for each thing that has such a label.
The set :data:`JUDGED` has the leaves themselves. No training may see it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from models.places.boxes import Box, painted
from models.places.data_set import PlaceSample
from models.places.tree import Indices, LabelTree, TreeError
from operators.figures.segments import VOID
from pipeline import files
from pipeline.courtyard import segments
from pipeline.courtyard.scene import Courtyard
from pipeline.courtyard.segments import CLASSES
from pipeline.courtyard.settings import IncidentKind, OrdinaryKind, SceneSettings

#: Name of the data set with the leaf of each pixel, beside the data sets of the tree.
JUDGED = "judged"

_WIDTH, _HEIGHT, _SECONDS, _FPS = 640, 360, 120.0, 12.5
_BETWEEN_SECONDS = 0.4  # least time between two pictures of a seed
#: A seed's incidents: every third seed has abandoned bags, because those exclude all others.
_BAGS_EVERY = 3
_LOOKED_FOR: dict[bool, tuple[IncidentKind | OrdinaryKind, ...]] = {
    False: (IncidentKind.BICYCLE, IncidentKind.CART, OrdinaryKind.DOG, OrdinaryKind.UMBRELLA),
    True: (IncidentKind.ABANDONED, OrdinaryKind.DOG, IncidentKind.ABANDONED, OrdinaryKind.UMBRELLA),
}
_SMALLEST_SIDE = 3  # pixels of a box; an annotator would not see a smaller part of a thing


@dataclass(frozen=True, slots=True)
class Sampling:
    """The pictures of a seed.

    Attributes:
        pictures: number of pictures of each seed, 1 to 64. Every second one shows something that is looked for:
            vehicles, dogs, umbrellas and bags in turn, as far as the seed has them.
        width: of a picture, pixels: 640, 320, 160, 128 or 80. Pictures are of 16:9.

    Raises:
        ValueError: a value is out of range.
    """

    pictures: int = 8
    width: int = 320

    def __post_init__(self) -> None:
        if not 1 <= self.pictures <= 64:
            raise ValueError(f"pictures must be 1 to 64, got {self.pictures}")
        if self.width not in (640, 320, 160, 128, 80):
            raise ValueError(f"width must be 640, 320, 160, 128 or 80 pixels, got {self.width}")

    @property
    def height(self) -> int:
        """The height of a picture, pixels."""
        return self.width * 9 // 16


@dataclass(frozen=True)
class CourtyardSet:
    """Rendered pictures in memory, as a :class:`models.places.data_set.PlaceSet`: 230 KB each at 320×180.

    Attributes:
        name: of the data set.
        of_boxes: whether boxes annotate its pictures.
        digest: hash of the pictures and their nodes.
        pictures: uint8 (N, H, W, 3) RGB.
        nodes: int16 (N, H, W); see :class:`~models.places.data_set.PlaceSample`.
    """

    name: str
    of_boxes: bool
    digest: str
    pictures: npt.NDArray[np.uint8]
    nodes: npt.NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.pictures)

    def sample(self, index: int) -> PlaceSample:
        """Return a picture with the node of each pixel."""
        return PlaceSample(self.pictures[index], self.nodes[index].astype(np.int64))


def courtyard_sets(
    tree: LabelTree,
    seeds: Mapping[str, Sequence[int]],
    folder: Path,
    *,
    sampling: Sampling | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> dict[str, CourtyardSet]:
    """Render data sets, or read those rendered before.

    Args:
        seeds: of each data set, by its name in the tree, or :data:`JUDGED`.
        folder: keeps the pictures of each seed in a file; after a kill the same call continues. Created when missing.
        progress: called with (pictures done, pictures in all).

    Raises:
        TreeError: a class of the courtyard is not a leaf of the tree, or the tree has no such data set.
        ValueError: two sets share a seed.
        OSError: the folder cannot be written.
    """
    sampling = sampling or Sampling()
    counts = Counter(seed for own in seeds.values() for seed in own)
    if twice := [seed for seed, number in counts.items() if number > 1]:
        raise ValueError(f"seed {twice[0]} is used twice; expected different seeds for each data set")
    meanings = {name: nodes_of_classes(tree, name) for name in seeds}
    total, done = counts.total() * sampling.pictures, 0
    found = {}
    for name, own in seeds.items():
        of_boxes = name != JUDGED and tree.data_sets[name].annotation == "boxes"
        key = _key(sampling, meanings[name], of_boxes=of_boxes)
        place = folder / f"{name}-{key}"
        place.mkdir(parents=True, exist_ok=True)
        parts = []
        for seed in own:
            parts.append(_of_seed(place / f"{seed}.npz", seed, sampling, meanings[name], of_boxes=of_boxes))
            done += sampling.pictures
            progress(done, total)
        pictures, nodes = (np.concatenate([part[at] for part in parts]) for at in (0, 1))
        digest = hashlib.sha256(key.encode())
        for values in (pictures, nodes):
            digest.update(repr(values.shape).encode())
            digest.update(values.tobytes())
        found[name] = CourtyardSet(name, of_boxes, digest.hexdigest(), pictures, nodes.astype(np.int16))
    return found


def nodes_of_classes(tree: LabelTree, name: str) -> Indices:
    """Return the node that a data set's labels say of each class of the courtyard, (classes,); VOID for none.

    It is the class's leaf in :data:`JUDGED`, and otherwise the nearest node above it, or itself, that a label means.

    Raises:
        TreeError: a class of the courtyard is not a leaf of the tree, or the tree has no such data set.
    """
    if missing := [one for one in CLASSES if one not in tree.leaves]:
        raise TreeError(f"class {missing[0]} of the courtyard: not a leaf of the label tree; expected each as a leaf")
    if name == JUDGED:
        return np.array([tree.index[one] for one in CLASSES], np.int64)
    said = set(tree.node_of_labels(name).tolist())
    paths = [[tree.index[step] for step in reversed(tree.path(one))] for one in CLASSES]
    return np.array([next((step for step in path if step in said), VOID) for path in paths], np.int64)


def _key(sampling: Sampling, meaning: Indices, *, of_boxes: bool) -> str:
    """Return a hash of everything but the seed that pictures depend on, as far as it is not code."""
    depends_on = [asdict(sampling), meaning.tolist(), of_boxes]
    return hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()[:12]


def _of_seed(
    file: Path, seed: int, sampling: Sampling, meaning: Indices, *, of_boxes: bool
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int16]]:
    """Return pictures and nodes of a seed, from its file where that is complete."""
    if not file.exists():
        scene = _scene(seed)
        shown = [
            _annotated(scene, frame, sampling, meaning, of_boxes=of_boxes)
            for frame in _frames(scene, sampling.pictures)
        ]
        with files.replacing(file) as draft, draft.open("wb") as written:
            np.savez(written, pictures=np.stack([one for one, _ in shown]), nodes=np.stack([two for _, two in shown]))
    with np.load(file, allow_pickle=False) as arrays:
        return arrays["pictures"], arrays["nodes"]


def _scene(seed: int) -> Courtyard:
    abandoned = seed % _BAGS_EVERY == 0
    rate = 1.0 if abandoned else 6.0
    return Courtyard(SceneSettings(seed, _FPS, _SECONDS, _WIDTH, _HEIGHT, rate, abandoned))


def _annotated(
    scene: Courtyard, frame: int, sampling: Sampling, meaning: Indices, *, of_boxes: bool
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int16]]:
    size = (sampling.width, sampling.height)
    picture = cv2.resize(scene.frame(frame), size, interpolation=cv2.INTER_AREA)
    if of_boxes:
        boxes, nodes = [], []
        for thing in scene.things(frame):
            box = _scaled(thing.box, sampling.width / _WIDTH)
            node = int(meaning[CLASSES.index(thing.name)])
            if node != VOID and min(box[2] - box[0], box[3] - box[1]) >= _SMALLEST_SIDE:
                boxes.append(box)
                nodes.append(node)
        mask = painted(boxes, nodes, (sampling.height, sampling.width))
    else:
        classes = cv2.resize(scene.segments(frame), size, interpolation=cv2.INTER_NEAREST)
        table = np.full(256, VOID, np.int64)
        table[: len(CLASSES)] = meaning
        assert table[segments.VOID] == VOID
        mask = table[classes]
    return picture, mask.astype(np.int16)


def _scaled(box: Box, by: float) -> Box:
    left, top, right, bottom = box
    return math.floor(left * by), math.floor(top * by), math.ceil(right * by), math.ceil(bottom * by)


def _frames(scene: Courtyard, number: int) -> list[int]:
    """Return the frames of a seed's pictures: every second one shows something that is looked for."""
    rng = np.random.default_rng([scene.settings.seed, 90])
    step = round(_BETWEEN_SECONDS * _FPS)
    moments = [int(frame) for frame in rng.permutation(scene.frame_count // step) * step]
    kinds = _LOOKED_FOR[scene.settings.abandoned]
    showing = {kind: _showing(scene, moments, kind) for kind in kinds}
    chosen: list[int] = []
    for at in range(number):
        wanted = showing[kinds[at // 2 % len(kinds)]] if at % 2 else ()
        chosen.append(next(frame for frame in itertools.chain(wanted, moments) if frame not in chosen))
    return chosen


def _showing(scene: Courtyard, moments: Sequence[int], kind: IncidentKind | OrdinaryKind) -> Iterator[int]:
    """Yield the moments that show this kind."""
    for frame in moments:
        if isinstance(kind, OrdinaryKind):
            if kind in scene.ordinary(frame):
                yield frame
        elif any(one.kind is kind and one.first_frame <= frame <= one.last_frame for one in scene.incidents):
            yield frame
