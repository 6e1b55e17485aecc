"""clip-retrieval and autofaiss read the vectors, in an environment of their own: they need numpy below 2."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from laion_assets.release.formats.clip_retrieval import encoder_folder
from tests.integration.release.made_parts import ENCODERS

# What was tried together. Without the pin of pyarrow, one is chosen that cannot be imported beside numpy 1.26.
_PINS = ("autofaiss==2.18.0", "numpy==1.26.4", "pyarrow==15.0.2", "pandas==2.3.3", "h5py", "flask", "flask_restful",
         "flask_cors<5", "pillow", "prometheus_client")  # fmt: skip

_KINDS = {"img_emb": "image_embedding", "text_emb": "text_embedding"}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with both; what else clip-retrieval asks for (torch, …) is left out."""
    folder = tmp_path_factory.mktemp("clip-retrieval")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    for packages in (_PINS, ("--no-deps", "clip-retrieval==2.45.0")):
        done = subprocess.run([folder / "bin/pip", "install", "-q", *packages], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no package registry gives clip-retrieval: {done.stderr.strip().splitlines()[-1]}")
    return folder / "bin/python"


@pytest.mark.slow
def test_clip_retrieval_finds_each_pair_by_its_own_vectors(made, python, tmp_path):
    name = min(ENCODERS)
    folder = made.folder / "clip-retrieval" / encoder_folder(name, ENCODERS[name][0])
    reader = Path(__file__).with_name("clip_retrieval_reader.py")
    subprocess.run([python, reader, folder, tmp_path], check=True, timeout=300)
    found = json.loads((tmp_path / "found.json").read_text())
    assert sorted(known["pair_id"] for _, _, _, known in found) == sorted([*made.rows["pair_id"]] * 2)
    released = {row["pair_id"]: row for row in made.rows.iter_rows(named=True)}
    vectors = {row["pair_id"]: row for row in made.vectors.filter(encoder=name).iter_rows(named=True)}
    stored = {kind: np.concatenate([*map(np.load, sorted((folder / kind).glob("*.npy")))]) for kind in _KINDS}
    for (row, first, similarity, known), kind in zip(found, _each_kind(len(found)), strict=True):
        assert (first, abs(similarity - 1) < 2e-3) == (row, True)
        pair = released[known["pair_id"]]
        assert (known["url"], known["caption"]) == (pair["url"], pair["text"])
        assert np.array_equal(stored[kind][row], np.array(vectors[pair["pair_id"]][_KINDS[kind]], np.float16))


def _each_kind(found: int) -> list[str]:
    """Which vectors were looked up: first those of all pictures, then of all texts."""
    return [kind for kind in _KINDS for _ in range(found // 2)]
