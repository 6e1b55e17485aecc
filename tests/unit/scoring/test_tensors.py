"""Named tensors come out of files that torch, numpy and safetensors write; nothing in them is run."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from laion_assets.scoring.tensors import HeadError, read_tensors


def torch_zip(program: bytes, **storages: bytes) -> bytes:
    """A file of torch's layout around a pickle."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key[1:]}", data)
    return content.getvalue()


class Runs:
    """What runs a command when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> object:
        return Path.touch, (self.file,)


def test_what_torch_saves_is_read_as_torch_reads_it(tmp_path: Path) -> None:
    import torch

    whole = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    state = {
        "turned": whole.T,
        "part": whole[1:, 1:3],
        "half": whole.half(),
        "count": torch.tensor(7),
        "empty": torch.empty(0, 3),
    }
    torch.save(state, tmp_path / "state.pt")
    found = read_tensors((tmp_path / "state.pt").read_bytes(), "state.pt")
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert np.array_equal(found[name], tensor.numpy()), name


def test_arrays_and_safetensors_are_read() -> None:
    from safetensors.numpy import save

    tensors = {"weight": np.ones((1, 3), np.float32), "bias": np.zeros(1, np.float32)}
    packed = io.BytesIO()
    np.savez_compressed(packed, **tensors)
    for content in (packed.getvalue(), save(tensors)):
        found = read_tensors(content, "head")
        assert {name: tensor.tolist() for name, tensor in found.items()} == {"weight": [[1, 1, 1]], "bias": [0]}


def test_nothing_is_run_that_a_pickle_asks_for(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    program = pickle.dumps(Runs(touched), protocol=2)
    pickle.loads(program)
    assert touched.exists()  # it would be run
    touched.unlink()
    with pytest.raises(HeadError, match=r"asks for __builtin__.getattr.*nothing of it was run"):
        read_tensors(torch_zip(program), "head.pt")
    packed = io.BytesIO()
    np.savez(packed, weight=np.array([Runs(touched)], dtype=object))
    with pytest.raises(HeadError, match="cannot be read"):
        read_tensors(packed.getvalue(), "head.npz")
    assert not touched.exists()


GLOBALS = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (b"\x80\x02cos\nsystem\n.", "asks for os.system"),
        (b"\x80\x02ctorch\nload\n.", "asks for torch.load"),
        (b"\x80\x02ccollections\ndefaultdict\n.", "asks for collections.defaultdict"),
        (b"\x80\x02c__builtin__\neval\n.", "asks for __builtin__.eval"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "asks for the operation"),
        (b"\x80\x05\x96\x00\x00\x00\x00\x00\x01\x00\x00.", "cannot be read"),  # 2^40 bytes, of which none is there
        (b"\x80\x02}r\xff\xff\xff\x7f.", "asks for the operation LONG_BINPUT"),  # a place far out in the memo
        (b"\x80\x02\x82\x01.", "asks for the operation EXT1"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "cannot be read"),
        (GLOBALS + STORAGE + b"K\x01K\x04\x85K\x01\x85\x89}tR.", "reaches beyond its storage"),
        (GLOBALS + STORAGE + b"K\x00M\xff\xff\x85K\x00\x85\x89}tR.", "reaches beyond its storage"),
        (GLOBALS + STORAGE + b"K\x00K\x02\x85J\xff\xff\xff\xff\x85\x89}tR.", "in a way that torch does not write"),
        (b"\x80\x02]K\x01a.", "expected a state dict"),
        (b"\x80\x02}X\x01\x00\x00\x00aK\x01s.", "expected a state dict"),
        (b"\x80\x02X\x01\x00\x00\x00aQ.", "asks for what is kept as"),
        (b"", "cannot be read"),
    ],
)
def test_a_pickle_of_anything_but_tensors_is_refused_in_a_line(program: bytes, said: str) -> None:
    with pytest.raises(HeadError, match=said) as caught:
        read_tensors(torch_zip(program, _0=bytes(16)), "head.pt")
    assert "\n" not in str(caught.value)


def test_a_tensor_within_its_storage_is_read() -> None:
    program = (
        GLOBALS.replace(b"\x80\x02", b"\x80\x02}X\x01\x00\x00\x00a") + STORAGE + b"K\x01K\x03\x85K\x01\x85\x89}tRs."
    )
    found = read_tensors(torch_zip(program, _0=np.arange(4, dtype="<f4").tobytes()), "head.pt")
    assert found["a"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected safetensors, npz"),
        (b"\x80\x02c", "expected safetensors, npz"),
        (b"PK\x03\x04 and no more", "cannot be read"),
        (b"\x05\x00\x00\x00\x00\x00\x00\x00{'a':", "cannot be read"),
        (b"\x01\x00\x00\x00\x00\x00\x00\x00{", "cannot be read"),
    ],
)
def test_what_is_no_file_of_tensors_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(HeadError, match=said):
        read_tensors(content, "head.bin")


def test_a_zip_that_would_fill_the_memory_is_refused() -> None:
    content = bytearray(torch_zip(b"."))
    place = content.rindex(b"PK\x01\x02") + 24
    content[place : place + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    with pytest.raises(HeadError, match=r"would unpack to 4,294,967,280 bytes"):
        read_tensors(bytes(content), "head.pt")


def test_values_that_are_no_numbers_are_refused() -> None:
    packed = io.BytesIO()
    np.savez(packed, weight=np.array([np.nan]))
    with pytest.raises(HeadError, match="tensor weight holds values that are no numbers"):
        read_tensors(packed.getvalue(), "head.npz")
