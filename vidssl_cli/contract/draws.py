"""Random numbers of many draws at once: bit for bit those of `clips.Draw`, for samplers of batches.

A generator takes some microseconds to make, and a batch of thousands of clips needs tens of
thousands. Here one pass of numpy computes the generator's function (Philox4x64-10, Salmon et al.
2011) for all of them, and what numpy's methods make of its words. Where such a method would look at
more words than usual, which is once in many millions, that generator is made after all.

Letters: n draws.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np  # noqa: TID253 - draws are arrays
from numpy.typing import NDArray  # noqa: TID253

from vidssl_cli.contract.clips import Draw, Key, generator_of

Words = NDArray[np.uint64]

_MULTIPLIERS = np.array([0xD2E7470EE14C6C93, 0xCA5A826395121157], np.uint64)[:, None, None]
_STEPS = np.array([0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B], np.uint64)
_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


class Draws:
    """The generators of n addresses, at their beginning."""

    def __init__(self, digests: Sequence[bytes]) -> None:
        """Take their keys."""
        self._digests = digests
        self._keys = np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2).astype(np.uint64)

    @classmethod
    def of(cls, draws: Sequence[Draw], purpose: str, views: Sequence[Key] = ("",)) -> Draws:
        """Return those that ``draw(purpose, view)`` gives for each draw and each of its views."""
        begins = [f"{draw.seed}/{draw.epoch}/{draw.video}/".encode() for draw in draws]
        ends = [f"{view}/{purpose}".encode() for view in views]
        digest = partial(hashlib.blake2b, digest_size=16)
        return cls([digest(begin + end).digest() for begin in begins for end in ends])

    def random(self, count: int) -> NDArray[np.float64]:
        """Return (n, count) numbers from [0, 1): what ``random(count)`` of each gives."""
        return (self._words(count) >> np.uint64(11)) * np.float64(2.0**-53)

    def uniform(self, low: float, high: float) -> NDArray[np.float64]:
        """Return (n,) numbers from [low, high): what ``uniform(low, high)`` of each gives."""
        return low + (high - low) * self.random(1)[:, 0]

    def integers(self, below: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (n,) numbers from 0: what ``integers(below)`` of each gives; below 2**32."""
        found, rare = _bounded(self._halves(1)[:, 0], below)
        return self._mended(found, rare, lambda one, row: one.integers(below[row]))

    def subsets(self, below: NDArray[np.int64], size: int) -> NDArray[np.int64]:
        """Return (n, size) different numbers, ascending.

        They are what ``choice(below, size, replace=False)`` of each gives, sorted, for ``below``
        (n,) of at most 10,000 (Floyd's way).
        """
        halves, found = self._halves(size), np.empty((len(self._digests), size), np.int64)
        rare = below <= size  # takes no number for the first
        for place in range(size):
            last = below - size + place
            drawn, odd = _bounded(halves[:, place], last + 1)
            taken = (found[:, :place] == drawn[:, None]).any(1)
            found[:, place] = np.where(taken, last, drawn)
            rare |= odd
        found.sort(1)
        return self._mended(
            found, rare, lambda one, row: np.sort(one.choice(below[row], size, replace=False))
        )

    def _mended(
        self,
        found: NDArray[np.int64],
        rare: NDArray[np.bool_],
        draw: Callable[[np.random.Generator, int], Any],
    ) -> NDArray[np.int64]:
        """Draw some rows one by one."""
        for row in np.flatnonzero(rare).tolist():
            found[row] = draw(generator_of(self._digests[row]), row)
        return found

    def _halves(self, count: int) -> Words:
        """Return the first (n, count) words of 32 bits: the lower half of each word comes first."""
        words = self._words(-(-count // 2))
        return np.stack([words & _LOW, words >> _HALF], -1).reshape(len(words), -1)[:, :count]

    def _words(self, count: int) -> Words:
        """Return the first (n, count) words of 64 bits."""
        blocks = -(-count // 4)
        # (2, n, blocks): words 0 and 2 of the counter, then 1 and 3; the first block has number 1.
        even = np.zeros((2, len(self._keys), blocks), np.uint64)
        even[0] = np.arange(1, blocks + 1, dtype=np.uint64)
        odd, key = np.zeros_like(even), self._keys.T[:, :, None].copy()
        for _ in range(_ROUNDS):
            high, low = _multiply(even)
            even, odd = high[::-1] ^ odd ^ key, low[::-1]
            key += _STEPS[:, None, None]
        found = np.stack([even[0], odd[0], even[1], odd[1]], -1)
        return found.reshape(len(self._keys), -1)[:, :count]


def _bounded(word: Words, below: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Scale words of 32 bits to numbers below (Lemire 2019), and say which may need another."""
    limit = below.astype(np.uint64)
    product = word * limit
    return (product >> _HALF).astype(np.int64), (product & _LOW) < limit


def _multiply(words: Words) -> tuple[Words, Words]:
    """Return the upper and lower 64 bits of the words (2, …), each times its multiplier."""
    low, high = words & _LOW, words >> _HALF
    by_low, by_high = _MULTIPLIERS & _LOW, _MULTIPLIERS >> _HALF
    middle = high * by_low + ((low * by_low) >> _HALF)
    other = low * by_high + (middle & _LOW)
    return high * by_high + (middle >> _HALF) + (other >> _HALF), words * _MULTIPLIERS
