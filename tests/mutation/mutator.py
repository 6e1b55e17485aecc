"""Damaged inputs made of valid ones, each a pure function of a seed and its number."""

import os
import random
from collections.abc import Callable, Iterator, Sequence

SEED = int(os.environ.get("LAION_MUTATION_SEED", "1"))
"""Of every run, unless somebody looks for more."""

LONGEST = 200_000
_NUMBERS = (b"0", b"-1", b"00", b"1e9", b"255", b"65536", b"2147483648", b"18446744073709551616", b"9" * 400)
_Change = Callable[[random.Random, bytearray, "Mutator"], bytearray]


class Mutator:
    """Makes mutants of valid inputs.

    Args:
        inputs: Valid inputs, in a fixed order.
        tokens: Pieces that mean something in their format, or nearly do.
    """

    def __init__(self, inputs: Sequence[bytes], tokens: Sequence[bytes]) -> None:
        self.inputs = inputs
        self.tokens = tokens

    def mutants(self, count: int) -> Iterator[tuple[int, bytes]]:
        """So many mutants, with their numbers."""
        for number in range(count):
            yield number, self.mutant(number)

    def mutant(self, number: int) -> bytes:
        """The mutant of a number, the same whatever was made before."""
        chosen = random.Random(f"{SEED} {number}")
        changed = bytearray(self.inputs[number % len(self.inputs)])
        for _ in range(chosen.choice((1, 1, 1, 2, 3, 5, 10))):
            changed = chosen.choice(_CHANGES)(chosen, changed, self)[:LONGEST]
        return bytes(changed)


def _span(chosen: random.Random, data: bytearray, longest: int = 64) -> tuple[int, int]:
    start = chosen.randint(0, len(data))
    return start, min(len(data), start + chosen.randint(1, longest))


def _flip(chosen: random.Random, data: bytearray, _: Mutator) -> bytearray:
    for _ in range(chosen.choice((1, 1, 4, 16)) if data else 0):
        data[chosen.randrange(len(data))] ^= 1 << chosen.randrange(8)
    return data


def _insert(chosen: random.Random, data: bytearray, _: Mutator) -> bytearray:
    start, _ = _span(chosen, data)
    data[start:start] = chosen.randbytes(chosen.choice((1, 2, 8, 64)))
    return data


def _delete(chosen: random.Random, data: bytearray, _: Mutator) -> bytearray:
    start, end = _span(chosen, data, chosen.choice((1, 8, 512)))
    del data[start:end]
    return data


def _repeat(chosen: random.Random, data: bytearray, _: Mutator) -> bytearray:
    start, end = _span(chosen, data)
    data[start:start] = data[start:end] * chosen.choice((1, 2, 16, 1000))
    return data


def _truncate(chosen: random.Random, data: bytearray, _: Mutator) -> bytearray:
    return data[: _span(chosen, data)[0]]


def _token(chosen: random.Random, data: bytearray, mutator: Mutator) -> bytearray:
    start, end = _span(chosen, data, 16)
    data[start : chosen.choice((start, end))] = chosen.choice(mutator.tokens)
    return data


def _splice(chosen: random.Random, data: bytearray, mutator: Mutator) -> bytearray:
    other = bytearray(chosen.choice(mutator.inputs))
    return data[: _span(chosen, data)[0]] + other[_span(chosen, other)[0] :]


def _transplant(chosen: random.Random, data: bytearray, mutator: Mutator) -> bytearray:
    other = chosen.choice(mutator.inputs)
    start, end = _span(chosen, bytearray(other), 256)
    place, _ = _span(chosen, data)
    data[place:place] = other[start:end]
    return data


def _number(chosen: random.Random, data: bytearray, _: Mutator) -> bytearray:
    digits = [at for at, byte in enumerate(data[:4096]) if 0x30 <= byte <= 0x39]
    if digits:
        at = chosen.choice(digits)
        data[at : at + 1] = chosen.choice(_NUMBERS)
    return data


_CHANGES: tuple[_Change, ...] = (
    _flip, _flip, _insert, _delete, _repeat, _truncate, _token, _token, _token, _splice, _transplant, _number,
)  # fmt: skip
