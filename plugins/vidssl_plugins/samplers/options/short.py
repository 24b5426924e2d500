"""What samplers may be told to do with videos that are too short for their clips."""

from typing import Literal

Short = Literal["loop", "skip", "error"]
"""Go on from the first frame, leave the video out, or stop the run."""

ShortOrClamp = Literal["loop", "clamp", "skip", "error"]
"""The same, or repeat the last frame: for samplers that fit every clip into the video by itself."""

ShortOrLess = Literal["restrict", "loop", "skip", "error"]
"""The same, or make do with the strides and speeds that fit."""

AnyShort = Literal["restrict", "loop", "clamp", "skip", "error"]
"""All of them."""
