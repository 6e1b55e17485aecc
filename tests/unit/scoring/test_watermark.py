"""The watermark detector takes weights of the published shape, and scores the pictures of a tar by their pixels."""

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from laion_assets.scoring.head import read_head
from laion_assets.scoring.tensors import HeadError
from laion_assets.scoring.watermark import WatermarkScorer, score_tar
from laion_assets.scoring.weights import tensors_of
from laion_assets.webdataset.writer import write_samples
from tests.unit.scoring.heads import described, linear

pytestmark = pytest.mark.slow


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (60, 90, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "png")
    return content.getvalue()


def test_pictures_of_a_tar_are_scored_as_published(tmp_path: Path) -> None:
    import timm
    import torch
    import torchvision.transforms as published

    torch.manual_seed(3)
    model = timm.create_model("efficientnet_b3", pretrained=False, num_classes=2)
    model.classifier = torch.nn.Sequential(
        torch.nn.Linear(1536, 625), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(625, 256), torch.nn.ReLU(),
        torch.nn.Linear(256, 2),
    ).eval()  # fmt: skip
    weights = tmp_path / "watermark.pt"
    torch.save(model.state_dict(), weights)
    head = read_head(described(tmp_path, weights, name="watermark", measures="watermark", encoder=None))

    pictures = {f"{n:05d}": picture(n) for n in range(3)}
    tar = tmp_path / "a.tar"
    write_samples(tar, [*((key, {"png": body}) for key, body in pictures.items()), ("00003", {"png": b"no picture"})])
    asked = pl.DataFrame({"sha256": [*"abcd"], "sample_key": [f"{n:05d}" for n in range(4)]})
    (frame,) = score_tar(WatermarkScorer(head, tensors_of(head), "cpu"), tar, asked)

    prepare = published.Compose(
        [
            published.Resize((256, 256)),
            published.ToTensor(),
            published.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    batch = torch.stack([prepare(Image.open(io.BytesIO(body))) for body in pictures.values()])
    with torch.no_grad():
        expected = torch.softmax(model.eval()(batch), dim=1)[:, 0].numpy()
    assert frame["sha256"].to_list() == [*"abcd"]
    assert frame["value"].to_numpy()[:3] == pytest.approx(expected, abs=1e-4)
    assert frame["value"][3] is None


def test_other_tensors_are_refused(tmp_path: Path) -> None:
    head = linear(tmp_path, measures="watermark", encoder=None)
    with pytest.raises(HeadError, match=r"expected the tensors of LAION's watermark detector.* and \d+ more"):
        WatermarkScorer(head, tensors_of(head), "cpu")
