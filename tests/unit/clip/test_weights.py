"""Weights as files: whole, and readable for whom the umask lets."""

import os
from collections.abc import Iterator

import pytest
import torch
from safetensors.torch import load_file

from laion_assets.clip.weights import write_weights


@pytest.fixture(params=[0o022, 0o027, 0o077, 0o002], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_weights_are_readable_for_whom_the_umask_lets(umask, tmp_path):
    path = tmp_path / "new" / "model.safetensors"
    for value in (1.0, 2.0):
        write_weights({"a": torch.full((2, 3), value).T}, path)
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask
        assert load_file(path)["a"].tolist() == [[value] * 2] * 3
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]


def test_weights_that_cannot_be_written_leave_those_that_were_there(tmp_path):
    path = tmp_path / "model.safetensors"
    write_weights({"a": torch.zeros(2)}, path)
    shared = torch.zeros(4)
    with pytest.raises(RuntimeError, match="share memory"):
        write_weights({"a": shared, "b": shared}, path)
    assert list(load_file(path)) == ["a"]
    assert list(tmp_path.iterdir()) == [path]
