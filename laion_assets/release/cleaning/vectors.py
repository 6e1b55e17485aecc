"""Files of vectors (``.npy``) whose rows are those of a table beside them, in the same order."""

from pathlib import Path
from typing import Any, Final

import numpy as np

from laion_assets.release.cleaning.faults import CannotClean

_AT_ONCE: Final = 64 * 2**20  # bytes


def vectors_in(path: Path) -> int:
    """How many rows a file of vectors has.

    Raises:
        CannotClean: it is none whose rows can be cut.
    """
    return int(_mapped(path).shape[0])


def write_without(path: Path, numbers: np.ndarray, fresh: Path) -> None:
    """Write a file of vectors again without some rows, a block of rows at a time.

    Args:
        path: the file.
        numbers: of the rows that go, in order.
        fresh: the new file.

    Raises:
        CannotClean: it is none whose rows can be cut.
    """
    vectors = _mapped(path)
    kept = np.ones(len(vectors), dtype=bool)
    kept[numbers] = False
    header = np.lib.format.header_data_from_array_1_0(vectors) | {"shape": (int(kept.sum()), *vectors.shape[1:])}
    at_once = max(1, _AT_ONCE // max(1, vectors[:1].nbytes))
    with fresh.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for at in range(0, len(vectors), at_once):
            file.write(np.ascontiguousarray(vectors[at : at + at_once][kept[at : at + at_once]]).tobytes())


def _mapped(path: Path) -> Any:
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise CannotClean(f"it is no readable file of vectors: {error}", path) from error
    if vectors.ndim == 0 or not vectors.flags.c_contiguous:
        raise CannotClean("its vectors do not lie one after the other: write it in C order", path)
    return vectors
