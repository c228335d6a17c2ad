"""Draw docs/courtyard.webp, the README's animation: the demo's first camera with its truth drawn in.

python bench/courtyard_picture.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pipeline.courtyard.scene import Courtyard
from pipeline.courtyard.settings import SceneSettings

OUT = Path(__file__).parents[1] / "docs" / "courtyard.webp"
SEED = 7001
SIZE = (480, 270)
SECONDS_EACH = 2.0  # shown of every incident, from shortly before its middle
FRAMES_A_SECOND = 6.25  # every other frame of the scene's 12.5
RED = (226, 60, 48)


def main() -> None:
    scene = Courtyard(SceneSettings(seed=SEED, seconds=60))
    pictures = []
    for incident in scene.incidents:
        middle = (incident.first_frame + incident.last_frame) // 2
        for frame in range(middle - 10, middle - 10 + round(SECONDS_EACH * 12.5), 2):
            picture = scene.frame(frame)
            for seen in scene.truth(frame):
                left, top, right, bottom = seen.box
                cv2.rectangle(picture, (left, top), (right, bottom), RED, 2)
                cv2.rectangle(picture, (left, max(top - 22, 0)), (left + 92, max(top, 22)), RED, -1)
                at = (left + 5, max(top, 22) - 6)
                cv2.putText(
                    picture, str(incident.kind), at, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255, 255, 255), 1, cv2.LINE_AA
                )
            pictures.append(Image.fromarray(np.asarray(cv2.resize(picture, SIZE, interpolation=cv2.INTER_AREA))))
    first, *others = pictures
    first.save(
        OUT, save_all=True, append_images=others, duration=round(1000 / FRAMES_A_SECOND), loop=0, quality=45, method=4
    )
    print(f"{OUT}: {len(pictures)} pictures, {OUT.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
