"""Chance that can be asked again: numbers drawn from a hash of what they are for.

The rule of this module: no generator state is shared. The same name gives the same number in any order, in any
process, which is what makes the simulated market a function of (seed, symbol, instant).
"""

from __future__ import annotations

import random
from hashlib import blake2b
from math import sqrt
from struct import Struct
from typing import Final

_FOUR_U16: Final = Struct(">4H")
_U16: Final = 65_535.0
_IRWIN_HALL_SD: Final = sqrt(4 / 12)
_U64: Final = float(2**64)


class Noise:
    """Named random numbers of one seed.

    Args:
        seed: worlds with different seeds share nothing.
    """

    def __init__(self, seed: int) -> None:
        self._key = blake2b(str(seed).encode(), digest_size=16).digest()

    def number(self, *name: object) -> int:
        """A whole number from 0 to 2**64 - 1."""
        return int.from_bytes(self.octets(8, *name), "big")

    def octets(self, count: int, *name: object) -> bytes:
        """`count` random bytes, 1 to 64."""
        return blake2b("|".join(map(str, name)).encode(), digest_size=count, key=self._key).digest()

    def uniform(self, *name: object) -> float:
        """A number in [0, 1)."""
        return self.number(*name) / _U64

    def normal(self, *name: object) -> float:
        """A number with mean 0 and standard deviation 1, within 3.5 of 0 (the sum of four uniform ones)."""
        return normal_of(self.octets(8, *name))

    def generator(self, *name: object) -> random.Random:
        """A generator of its own for a long run of numbers that are always drawn from the beginning."""
        return random.Random(self.number(*name))


def normal_of(octets: bytes) -> float:
    """A number of `Noise.normal`'s law from eight random bytes."""
    total: int = sum(_FOUR_U16.unpack(octets))
    return (total / _U16 - 2.0) / _IRWIN_HALL_SD


def uniform_of(octets: bytes) -> float:
    """A number in [0, 1) from random bytes."""
    return int.from_bytes(octets, "big") / float(1 << 8 * len(octets))
