"""Named tensors out of a file, without running anything that it contains: torch's zips, npz, safetensors.

A torch file is a zip with a pickle, and a pickle is a program. Lists of what a pickle must not call are never complete;
here stand the few names that tensors need, and everything else is refused.
"""

import io
import math
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Tensor = npt.NDArray[Any]

MOST_BYTES: Final = 2 * 1024**3
"""Bytes that the tensors of a head may have together. The largest head known has 43 MB."""
_MOST_PICKLE_BYTES: Final = 16 * 1024**2
_ZIP, _SAFETENSORS_LEAST = b"PK\x03\x04", 8


class HeadError(ValueError):
    """A head cannot be used. The message says in a line what was expected, what was found and what to do."""


def read_tensors(content: bytes, name: str) -> dict[str, Tensor]:
    """The tensors of a file by name.

    Args:
        content: of the file.
        name: of the file, for people.

    Raises:
        HeadError: it is of no kind that is read, is damaged, holds more than it may, or asks for anything but tensors.
    """
    reader: Callable[[bytes, str], dict[str, Tensor]] = _safetensors
    if content.startswith(_ZIP):
        reader = _zipped
    elif not _is_safetensors(content):
        raise HeadError(
            f"{name}: expected safetensors, npz, or what torch.save writes since version 1.6 (a zip), found none of "
            "these: save it anew as safetensors"
        )
    try:
        tensors = reader(content, name)
    except HeadError:
        raise
    except Exception as error:  # each reader raises its own errors on a broken file
        raise HeadError(f"{name} cannot be read, it is damaged or no file of tensors: {error}") from error
    return {key: _checked(tensor, f"{name}, tensor {key}") for key, tensor in tensors.items()}


def _checked(tensor: Tensor, what: str) -> Tensor:
    if tensor.dtype.kind not in "fiu":
        raise HeadError(f"{what}: expected numbers, found {tensor.dtype}")
    if not np.isfinite(tensor).all():
        raise HeadError(f"{what} holds values that are no numbers: get a sound copy of the file")
    return tensor


def _is_safetensors(content: bytes) -> bool:
    if len(content) < _SAFETENSORS_LEAST:
        return False
    header = int.from_bytes(content[:8], "little")
    return header <= len(content) - 8 and content[8:9] == b"{"


def _safetensors(content: bytes, _: str) -> dict[str, Tensor]:
    from safetensors.numpy import load

    return dict(load(content))


def _zipped(content: bytes, name: str) -> dict[str, Tensor]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        declared = sum(entry.file_size for entry in archive.infolist())
        if declared > MOST_BYTES:
            raise HeadError(f"{name} would unpack to {declared:,} bytes, more than the {MOST_BYTES:,} that a head may")
        pickles = [entry for entry in archive.infolist() if entry.filename.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            return _npz(content)
        if pickles[0].file_size > _MOST_PICKLE_BYTES:
            raise HeadError(f"{name}: its data.pkl has {pickles[0].file_size:,} bytes, which no head needs")
        folder = pickles[0].filename.removesuffix("data.pkl")
        found = _TensorReader(archive, folder, name).load()
    if not isinstance(found, Mapping) or not all(isinstance(value, np.ndarray) for value in found.values()):
        raise HeadError(f"{name}: expected a state dict (names to tensors), found {type(found).__name__}")
    return {str(key): value for key, value in found.items()}


def _npz(content: bytes) -> dict[str, Tensor]:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


_OPCODES: Final = frozenset(
    {
        "PROTO", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1",
        "BINUNICODE", "SHORT_BINUNICODE", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
        "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS",
        "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "GLOBAL", "BINPERSID", "REDUCE", "BUILD",
    }
)  # fmt: skip
"""What the pickle of a state dict is made of, as torch writes it (protocol 2)."""


class _Storage:
    """Stands for one of torch's classes of storages; it cannot be called."""

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)


_STORAGES: Final = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "DoubleStorage": "<f8",
    "LongStorage": "<i8",  # how many batches a normalisation saw
}


class _TensorReader(pickle.Unpickler):
    """Knows tensors, their storages and ordered dictionaries, and refuses whatever else a pickle asks for."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, name: str) -> None:
        program = archive.read(f"{folder}data.pkl")
        super().__init__(io.BytesIO(program))
        self._archive, self._folder, self._name = archive, folder, name
        for opcode, argument, _ in pickletools.genops(program):
            # A place in the memo is memory, whether anything lies there or not.
            if opcode.name not in _OPCODES or (opcode.name == "LONG_BINPUT" and int(argument or 0) > len(program)):
                raise self._refusal(f"the operation {opcode.name}")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _STORAGES:
            return _Storage(_STORAGES[name])
        raise self._refusal(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Tensor:
        match pid:
            case ("storage", _Storage() as storage, str() as key, str(), int() as count) if "/" not in key:
                data = self._archive.read(f"{self._folder}data/{key}")
                if len(data) != count * storage.dtype.itemsize:
                    raise HeadError(
                        f"{self._name}: storage {key} has {len(data):,} bytes, not those of {count:,} values"
                    )
                return np.frombuffer(data, storage.dtype)
        raise self._refusal(f"what is kept as {pid!r:.80}")

    def _refusal(self, what: str) -> HeadError:
        return HeadError(
            f"{self._name} asks for {what}, and a head's file may hold tensors alone: nothing of it was run; save its "
            "state dict anew, best as safetensors"
        )


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    """``torch._utils._rebuild_tensor_v2``, within the storage."""
    if not isinstance(storage, np.ndarray) or len(size) != len(stride) or min((0, offset, *size, *stride)) < 0:
        raise HeadError("a tensor is described in a way that torch does not write")
    count = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count and (last >= storage.size or count > storage.size):
        raise HeadError("a tensor reaches beyond its storage")
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:] if count else storage[:0], size, steps).copy()
