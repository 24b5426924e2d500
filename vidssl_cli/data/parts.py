"""The batch of a step in parts: clips stay bytes until their part is needed.

Augmented clips take several times the memory of the pictures that they are made of. Of a batch that
passes through the network in parts (``train.accumulate``) a few parts exist at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Batch
    from vidssl_cli.data.samples import Sample

Made = Callable[[], "Batch"]
"""A part that is made, or is being made; whoever uses it gets it by calling this."""
Make = Callable[[Sequence["Sample"]], Made]
"""Makes a part of samples."""


class Parts:
    """Parts of a batch, which may be iterated over again."""

    def __init__(self, samples: Sequence[Sample], parts: int, make: Make, begin: Make) -> None:
        """Cut a batch into parts of almost equal size; nothing is made yet.

        Args:
            samples: of the batch.
            parts: how many, unless there are fewer samples.
            make: makes a part.
            begin: has a part made while another one is in use.
        """
        self.videos = len(samples)
        self.clips = sum(len(sample.pictures) for sample in samples)
        numbers = np.array_split(np.arange(len(samples)), min(parts, len(samples)))
        self._samples = [[samples[n] for n in part.tolist()] for part in numbers]
        self._make, self._begin = make, begin
        self._first: Made | None = None

    def make_first(self) -> Parts:
        """Make the first part, so that nobody has to wait for it."""
        self._first = self._make(self._samples[0])
        return self

    def __iter__(self) -> Iterator[Batch]:
        """Yield the parts; each is made while the one before it is in use."""
        coming, self._first = self._first or self._make(self._samples[0]), None
        for samples in self._samples[1:]:
            made, coming = coming, self._begin(samples)
            yield made()
        yield coming()
