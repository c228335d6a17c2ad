"""A recording as a film with its scores and alerts: the scores run along under the picture.

Under each picture: the time, the score of the clip that is playing and the average that runs live, and a chart of 30 s
with both, the threshold and the alerts; under that the whole recording with its alerts. While an alert is open the
picture has a red frame, and the model's heat map, if it has one, is drawn over the picture.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, Colorspace

from pipeline import files
from pipeline.alerts.evidence import file_name, jfif
from pipeline.errors import MistwatchError
from pipeline.heat import Heat
from pipeline.lettering import ADVANCE, HEIGHT, write
from pipeline.replay.score_chart import (
    ALERT,
    AVERAGE,
    BACKGROUND,
    GRID,
    SCORE,
    TEXT,
    Picture,
    SegmentScores,
    by_segment,
    draw_chart,
)
from pipeline.runs.folder import RUN_FILE, AlertSpan, Run, VideoRow
from pipeline.runs.recordings import recording_of
from pipeline.sources.base import Fit, Frame, FrameSpec
from pipeline.sources.frame_index import SAME_TIME_SECONDS
from pipeline.sources.recordings import Recording
from pipeline.sources.scale import seen_part, upright

ANNOTATED_FOLDER = "annotated"  #: of a run folder

#: A narrower picture stands in the middle of a film of this width: the writing wants room. Pixels.
_LEAST_WIDTH = 320

#: Ticks a second of the film's clock, in which every recording's own times are exact enough.
_CLOCK = 90_000

_ALERT_YCBCR = (97, 98, 211)  #: ALERT by the matrix of JPEG


class AnnotationError(MistwatchError):
    """A recording cannot be annotated. One line that names it."""


class _Stopped(MistwatchError):
    """The caller has set ``stop``."""


def annotated_file(run: Run, row: VideoRow) -> Path:
    """Return the path of a recording's annotated film in the run folder."""
    return run.folder / ANNOTATED_FOLDER / f"{file_name(row.name)}.mp4"


def rows_to_annotate(run: Run) -> list[VideoRow]:
    """Return the recordings of a run whose annotated film is missing or older than the run."""
    made_at = (run.folder / RUN_FILE).stat().st_mtime
    files = {row.name: annotated_file(run, row) for row in run.videos if row.error is None}
    return [
        row
        for row in run.videos
        if (file := files.get(row.name)) is not None and not (file.exists() and file.stat().st_mtime >= made_at)
    ]


def annotate(
    run: Run,
    row: VideoRow,
    file: Path,
    *,
    stop: threading.Event | None = None,
    progress: Callable[[float], None] = lambda _seconds: None,
) -> bool:
    """Write the annotated film of a recording: H.264 in MP4, every frame at its own time, without sound.

    Where the recording's clock jumps, the film goes on at once. It is of the size of the first picture; later ones of
    another size are scaled to it.

    Args:
        file: to be written, in full or not at all.
        stop: ends it; then nothing is written.
        progress: called with the seconds that are done.

    Returns:
        False if it was stopped.

    Raises:
        AnnotationError: nothing of it was scored, it is another one than was scored, or the film cannot be written.
        SourceError, RunError: the recording or the run cannot be read.
    """
    stop = stop or threading.Event()
    if row.error is not None:
        raise AnnotationError(f"{row.name}: cannot be annotated, nothing of it was scored: {row.error}")
    recording = recording_of(row)
    try:
        if recording.content_hash != row.content_hash:
            raise AnnotationError(f"{row.path}: is not what was scored as {row.name}; replay it again")
        drawn = _Drawing(run, row, run.attention(row))
        file.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(file) as draft:
            _write(recording, drawn, draft, stop, progress)
            if stop.is_set():
                raise _Stopped
    except _Stopped:
        return False
    except (OSError, av.FFmpegError) as error:
        raise AnnotationError(f"{file}: cannot be written: {error.strerror}") from None
    return True


def _write(
    recording: Recording, drawn: _Drawing, draft: Path, stop: threading.Event, progress: Callable[[float], None]
) -> None:
    wanted = FrameSpec(16, 16)  # the small picture is not looked at
    with closing(recording.frames([wanted], stop)) as items, av.open(str(draft), "w", format="mp4") as film:  # type: ignore[type-var]
        stream: av.VideoStream | None = None
        for item in items:
            if not isinstance(item, Frame):
                drawn.end()
                continue
            picture = drawn.picture(item)
            if stream is None:
                stream = _stream(film, picture)
            frame = picture.reformat(format="yuv420p", dst_color_range=ColorRange.MPEG)
            frame.pts, frame.time_base = round(drawn.seconds * _CLOCK), Fraction(1, _CLOCK)
            film.mux(stream.encode(frame))
            progress(drawn.seconds)
        if stream is not None:
            film.mux(stream.encode())


def _stream(film: av.container.OutputContainer, picture: av.VideoFrame) -> av.VideoStream:
    stream = film.add_stream("libx264", options={"preset": "veryfast", "crf": "20"})
    stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "yuv420p"
    stream.codec_context.time_base = Fraction(1, _CLOCK)
    stream.codec_context.colorspace, stream.codec_context.color_range = Colorspace.ITU601, ColorRange.MPEG
    return stream


class _Sheet:
    """A black picture of even sides that others are put on.

    It stays in the YCbCr of JPEG: on its way to RGB and back FFmpeg's scaler would lose two levels each time.
    """

    def __init__(self, width: int, height: int) -> None:
        self._packed = np.full((height * 3 // 2, width), 128, np.uint8)
        self._luma = self._packed[:height]
        self._luma[...] = 0
        self._planes = (self._luma, *self._packed[height:].reshape(2, height // 2, width // 2))

    def paste(self, picture: av.VideoFrame, left: int, top: int) -> None:
        """Put a ``yuvj420p`` picture there; both places even."""
        for own, plane, every in zip(self._planes, picture.planes, (1, 2, 2), strict=True):
            padded = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)  # type: ignore[call-overload]
            rows, columns = slice(top // every, top // every + plane.height), left // every
            own[rows, columns : columns + plane.width] = padded[: plane.height, : plane.width]

    def frame(self, height: int, thickness: int) -> None:
        """Draw a red frame around the upper part, so many pixels high; both even."""
        for own, value, every in zip(self._planes, _ALERT_YCBCR, (1, 2, 2), strict=True):
            upper, thick = own[: height // every], thickness // every
            for side in (upper[:thick], upper[-thick:], upper[:, :thick], upper[:, -thick:]):
                side[...] = value

    @property
    def picture(self) -> av.VideoFrame:
        """The sheet as it is now."""
        picture = av.VideoFrame.from_ndarray(self._packed, format="yuvj420p")
        picture.colorspace, picture.color_range = Colorspace.ITU601, ColorRange.JPEG
        return picture


class _Drawing:
    """Draws picture after picture of one recording."""

    def __init__(self, run: Run, row: VideoRow, attention: npt.NDArray[np.float32] | None) -> None:
        clip = run.settings.clip_of(row)
        self.seconds = 0.0  #: place of the latest picture in the film
        self._spec = FrameSpec(clip.height, clip.width, Fit(clip.fit))
        self._threshold = run.settings.chain_of(row).open_threshold
        self._parts = by_segment(run.clips[row.name], run.alerts[row.name])
        self._attention = attention
        self._kind = run.settings.model.heat
        self._period = 1.0 / row.fps if row.fps else 0.04
        self._whole = max(row.duration_seconds, self._period)
        self._marks = self._places_of_alerts(run, row)
        self._segment: str | None = None
        self._first = 0.0  # PTS of the segment's first picture
        self._base = 0.0  # and its place in the film
        self._size: tuple[int, int] | None = None

    def end(self) -> None:
        """The segment is over; the next one follows after a frame's time."""
        self._segment = None
        self._base = self.seconds + self._period

    def picture(self, frame: Frame) -> av.VideoFrame:
        """The annotated picture, ``yuvj420p``, always of the same size, both even."""
        if frame.segment.id != self._segment:
            self._segment, self._first = frame.segment.id, frame.pts_seconds
        self.seconds = self._base + frame.pts_seconds - self._first
        part = self._parts.get(frame.segment.id)
        now = frame.pts_seconds + SAME_TIME_SECONDS  # an alert's times are rounded
        alert = next((a for a in part.alerts if a.started <= now < a.ended), None) if part is not None else None
        shown = self._shown(frame, part, alert)
        wide, high = max(_LEAST_WIDTH, shown.width + shown.width % 2), shown.height + shown.height % 2
        band = np.empty((2 * max(44, round(high / 10)), wide, 3), np.uint8)
        self._draw_band(band, part, now, alert)
        sheet = _Sheet(wide, high + len(band))
        sheet.paste(shown, (wide - shown.width) // 4 * 2, 0)
        if alert is not None and now >= alert.opened:
            sheet.frame(high, 2 * max(1, high // 240))
        sheet.paste(jfif(av.VideoFrame.from_ndarray(band, format="rgb24")), 0, high)
        return sheet.picture

    def _shown(self, frame: Frame, part: SegmentScores | None, alert: AlertSpan | None) -> av.VideoFrame:
        """The picture of the camera, upright, with where the model looked if it alarmed; ``yuvj420p``."""
        picture = upright(frame.native)
        heat = None
        if self._attention is not None and part is not None and alert is not None:
            clip = int(part.at(np.array([frame.pts_seconds]))[0])
            if clip >= 0:
                seen = seen_part(picture.width, picture.height, self._spec)
                heat = Heat(np.asarray(self._attention[part.first + clip]), seen, self._kind)
        drawn = jfif(picture, heat)
        self._size = self._size or (drawn.width, drawn.height)
        return drawn if (drawn.width, drawn.height) == self._size else drawn.reformat(*self._size)

    def _draw_band(self, band: Picture, part: SegmentScores | None, now: float, alert: AlertSpan | None) -> None:
        """Text, chart, and the whole recording, from top to bottom."""
        band[...] = BACKGROUND
        scale = 2 if band.shape[1] >= 560 else 1
        margin, strip = 4 * scale, 4 * scale
        self._draw_text(band, part, now, alert, scale)
        top = 2 * margin + HEIGHT * scale
        chart = band[top : band.shape[0] - strip - margin]
        if part is not None:
            draw_chart(chart, part, now, self._threshold)
        self._draw_whole(band[band.shape[0] - strip :])

    def _draw_text(
        self, band: Picture, part: SegmentScores | None, now: float, alert: AlertSpan | None, scale: int
    ) -> None:
        top = left = 4 * scale
        tenths = int((self.seconds + SAME_TIME_SECONDS) * 10)
        time = f"{tenths // 36000}:{tenths // 600 % 60:02d}:{tenths // 10 % 60:02d}.{tenths % 10}"
        left = write(band, time, left, top, TEXT, scale) + 2 * ADVANCE * scale
        clip = -1 if part is None else int(part.at(np.array([now]))[0])
        if part is not None and clip >= 0:
            text = f"SCORE {part.score[clip]:.2f}"
            left = write(band, text, left, top, SCORE, scale) + 2 * ADVANCE * scale
            write(band, f"AVERAGE {part.smoothed[clip]:.2f}", left, top, AVERAGE, scale)
        if alert is not None and now >= alert.opened:
            wide = 7 * ADVANCE * scale
            band[top - 2 * scale : top + (HEIGHT + 2) * scale, -wide:] = ALERT
            write(band, "ALERT", band.shape[1] - wide + ADVANCE * scale, top, TEXT, scale)

    def _draw_whole(self, strip: Picture) -> None:
        """The whole recording: its alerts, and how much of it has played."""
        strip[...] = GRID
        wide = strip.shape[1]
        strip[:, : round(wide * min(1.0, self.seconds / self._whole))] = SCORE
        for begins, ends in self._marks:
            strip[:, int(wide * begins) : max(int(wide * begins) + 2, round(wide * ends))] = ALERT

    def _places_of_alerts(self, run: Run, row: VideoRow) -> list[tuple[float, float]]:
        """Return the alerts' places in the recording, as shares of its frames, because its clock may jump."""
        clips = run.clips[row.name]
        places = []
        for alert in run.alerts[row.name]:
            own = [
                n
                for n, segment in enumerate(clips.segment)
                if segment == alert.segment
                and alert.started - SAME_TIME_SECONDS <= clips.start[n] < alert.ended - SAME_TIME_SECONDS
            ]
            if own:
                places.append((clips.first_frame[own[0]] / row.frames, clips.end_frame[own[-1]] / row.frames))
        return places
