"""Pieces of real footage: packets that are copied, none decoded or encoded."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import av


def write_piece(film: Path, path: Path, pictures: int) -> Path:
    """The first pictures of a film without B-frames, as a film of its own."""
    with av.open(str(film)) as whole, av.open(str(path), "w") as piece:
        stream = piece.add_stream_from_template(whole.streams.video[0])
        for packet in islice(whole.demux(video=0), pictures):
            packet.stream = stream
            piece.mux(packet)
    return path
