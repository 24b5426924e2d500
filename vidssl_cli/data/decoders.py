"""What decodes video files: PyAV, or a plugin that has shown that it is right and faster.

A plugin is tried on videos of the data before it is used. Its pictures must be those of PyAV but
for rounding, and it must take less time with as many threads as will use it; otherwise PyAV
decodes, and a message says why. So it does single videos with which the plugin fails, those that
have problems, and those of packed sets.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.base.console import say
from vidssl_cli.base.cores import usable_cores
from vidssl_cli.base.errors import PluginError
from vidssl_cli.media.decode import read_planes
from vidssl_cli.media.open_file import stamp
from vidssl_cli.media.scale import target_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.hooks import Decoder, DecoderOptions
    from vidssl_cli.contract.videos import Video

Resize = tuple[int, int] | int

ALIKE = 40.0
"""Decibels (peak signal-to-noise ratio) from which on pictures differ by rounding alone."""
_TRIED = 4
"""Videos that are compared."""
_PLACES, _FOLLOWING = 4, 4
"""Places of each, over its whole length, and the frames compared at each of them."""
_CLIP = 16
"""Frames of a clip that is timed."""
_ROUNDS = 3
"""Times that both are timed, in turns; the least counts."""


@dataclass(frozen=True)
class FrameReader:
    """Reads frames by a plugin's decoder where that can be, else by PyAV."""

    name: str = "pyav"
    decoder: Decoder | None = None
    _left: set[str] = field(default_factory=set)
    """Paths of videos that the plugin cannot decode."""

    def __call__(self, video: Video, frames: Sequence[int], resize: Resize) -> NDArray[np.uint8]:
        """Decode as `vidssl_cli.media.decode.read_planes` does."""
        # A file that is another one now is an error, which PyAV's reader explains.
        if (
            self.decoder
            and _is_for_plugins(video)
            and video.path not in self._left
            and stamp(video.path)[0] == video.bytes
        ):
            try:
                return decode_by(self.decoder, video, frames, resize)
            except Exception as error:  # a plugin, and a driver below it, may raise anything
                self._leave(video, error)
        return read_planes(video, frames, resize)

    def _leave(self, video: Video, error: Exception) -> None:
        if not self._left:
            say(f"{self.name} cannot decode {video.path}: {_reason(error)}; PyAV does, and others")
        self._left.add(video.path)


PYAV = FrameReader()


def decode_by(
    decoder: Decoder, video: Video, frames: Sequence[int], resize: Resize
) -> NDArray[np.uint8]:
    """Decode by a plugin, whose pictures must have the size that is asked for.

    Raises:
        PluginError: They do not.
        Exception: What the plugin raises.
    """
    size = target_size(resize, (video.height or 0, video.width or 0))
    pictures = decoder(video, frames, size)
    expected = len(frames), 3, *size
    found = getattr(pictures, "shape", None), getattr(pictures, "dtype", None)
    if found != (expected, np.uint8):
        raise PluginError(f"it returns {found[1]} {found[0]}, and not uint8 {expected}")
    return pictures


def choose_reader(
    options: DecoderOptions | None,
    videos: Sequence[Video],
    resize: Resize,
    device: str,
    workers: int | None = None,
) -> FrameReader:
    """Return what decodes these videos: a plugin if it is right and faster, else PyAV.

    Args:
        options: Of the plugin; None stands for PyAV.
        videos: That will be decoded; a few are tried.
        resize: Size at which they are decoded, as in `read_planes`.
        device: Where their pictures are needed.
        workers: Threads that will decode; None takes one per core.

    Raises:
        VidsslError: The plugin cannot be used on this machine.
    """
    if options is None:
        return PYAV
    tried = _spread_over([video for video in videos if _is_for_plugins(video)])
    if not tried:
        say(f"there is no video for {options.name} to decode: they are packed, or have problems")
        return PYAV
    decoder = options.build(device)
    try:
        found = min(likeness(decoder, video, resize) for video in tried)
    except Exception as error:
        say(f"PyAV decodes, since {options.name} cannot: {_reason(error)}")
        return PYAV
    if found < ALIKE:
        say(
            f"PyAV decodes, since pictures by {options.name} are not those of PyAV: they are "
            f"{found:.0f} dB alike, and rounding leaves {ALIKE:.0f}"
        )
        return PYAV
    reader = FrameReader(options.name, decoder)
    rates = _frames_per_second([reader, PYAV], tried, resize, workers or usable_cores())
    said = f"{options.name} decodes {rates[0]:.0f} frames a second, and PyAV {rates[1]:.0f}"
    if rates[0] <= rates[1]:
        say(f"{said}: PyAV decodes")
        return PYAV
    say(f"{said}; their pictures are {found:.0f} dB alike")
    return reader


def likeness(decoder: Decoder, video: Video, resize: Resize) -> float:
    """Return how much a plugin's pictures of a video are like those of PyAV, in decibels.

    Raises:
        MediaError: PyAV cannot read it.
        Exception: What the plugin raises.
    """
    count = video.frames or 0
    starts = np.linspace(0, max(0, count - _FOLLOWING), _PLACES).astype(int)
    frames = np.unique((starts[:, None] + np.arange(_FOLLOWING)).clip(max=count - 1)).tolist()
    theirs = decode_by(decoder, video, frames, resize).astype(np.float64)
    error = np.square(theirs - read_planes(video, frames, resize)).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-10)))


def _frames_per_second(
    readers: Sequence[FrameReader], videos: Sequence[Video], resize: Resize, workers: int
) -> list[float]:
    """Return how many frames readers decode, each with so many threads."""
    clips = []
    for number in range(max(2 * workers, len(videos))):
        video = videos[number % len(videos)]
        first = max(0, (video.frames or 0) - _CLIP) // 2
        clips.append((video, range(first, min(first + _CLIP, video.frames or 0))))
    least = [np.inf] * len(readers)
    with ThreadPoolExecutor(workers, "decode") as pool:
        for _ in range(_ROUNDS):
            for number, reader in enumerate(readers):
                begun = time.perf_counter()
                for each in [pool.submit(reader, *clip, resize) for clip in clips]:
                    each.result()
                least[number] = min(least[number], time.perf_counter() - begun)
    return [sum(len(frames) for _, frames in clips) / seconds for seconds in least]


def _spread_over(videos: Sequence[Video]) -> list[Video]:
    """Return a few videos from the beginning to the end."""
    return [*islice(videos[:: max(1, len(videos) // _TRIED)], _TRIED)]


def _is_for_plugins(video: Video) -> bool:
    """Whether a plugin may decode a video: it has a file that is whole, and all facts of it."""
    facts = video.frames, video.height, video.width, video.bytes
    return not (video.packed or video.problems or None in facts)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
