import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from laion_assets.clip.options import EncoderError
from laion_assets.evaluation.benchmark import Benchmark, BenchmarkError, BenchmarkSample, samples
from laion_assets.evaluation.model import LoadedModel, image_batches, image_features, load_model, text_features
from laion_assets.sample.encoder import MODEL, MODEL_CONFIGS
from tests.unit.evaluation.conftest import labelled, picture
from tests.unit.images.files import corners, saved, tiff
from tests.unit.images.png_decoder import encode_png


def test_nothing_heavy_is_imported_before_a_model_is_loaded():
    code = "import sys; from laion_assets.evaluation import benchmark, model, retrieval, zero_shot; "
    code += "print({'torch', 'open_clip', 'webdataset', 'PIL', 'dagster', 'polars'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


def test_vectors_are_float32_of_length_one_and_not_rounded(loaded: LoadedModel, classification: Benchmark):
    import torch

    batch, images = next(image_batches(loaded, samples(classification), 64))
    for vectors in (image_features(loaded, images), text_features(loaded, ["a", "ein Kreis", "丸 " * 100])):
        assert vectors.dtype == torch.float32
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)), atol=1e-6, rtol=0)
        assert not torch.equal(vectors, vectors.half().float())
    torch.testing.assert_close(image_features(loaded, images, batch=7), image_features(loaded, images))
    assert len(batch) == len(images) == 64


def test_batches_keep_order_and_lose_none(loaded: LoadedModel):
    import torch

    batches = list(image_batches(loaded, labelled(30), 7))
    assert [len(batch) for batch, _ in batches] == [7, 7, 7, 7, 2]
    assert [sample for batch, _ in batches for sample in batch] == list(labelled(30))
    alone = [image for _, images in image_batches(loaded, labelled(30), 1) for image in images]
    assert torch.equal(torch.cat([images for _, images in batches]), torch.stack(alone))


def test_few_batches_are_decoded_ahead(loaded: LoadedModel):
    taken = 0

    def rows():
        nonlocal taken
        for sample in labelled(100):
            taken += 1
            yield sample

    batches = image_batches(loaded, rows(), 5)
    next(batches)
    assert taken <= 20
    batches.close()
    assert taken <= 20


def test_a_picture_that_does_not_decode_is_named(loaded: LoadedModel):
    broken = BenchmarkSample("s0007", picture(3, "JPEG")[:300], label=0)
    with pytest.raises(BenchmarkError, match="sample s0007: the picture cannot be decoded"):
        list(image_batches(loaded, [*labelled(5), broken], 4))


def test_bfloat16_agrees_with_float32(loaded: LoadedModel, random_weights: str):
    half = load_model(MODEL, random_weights, model_configs=MODEL_CONFIGS, precision="amp_bf16")
    assert (loaded.precision, half.precision) == ("fp32", "amp_bf16")
    texts = ["a red circle", "ein Herz"]
    assert float((text_features(loaded, texts) * text_features(half, texts)).sum(dim=1).min()) > 0.99


def test_preprocessing_is_that_of_open_clip(loaded: LoadedModel):
    assert loaded.preprocess(Image.new("RGB", (50, 40))).shape == (3, 32, 32)


@pytest.mark.parametrize("wrong", [{"model": "none"}, {"weights": "/nowhere/w.pt"}, {"device": "gpu"}])
def test_what_cannot_be_loaded_says_why(random_weights: str, wrong: dict[str, str]):
    given = {"model": MODEL, "weights": random_weights, **wrong}
    with pytest.raises(EncoderError, match="expected"):
        load_model(given.pop("model"), given.pop("weights"), model_configs=MODEL_CONFIGS, **given)


def test_pictures_that_pillow_alone_misreads_are_seen_as_they_are(loaded: LoadedModel):
    """16 bits, which Pillow clips to white, as their high byte; and upright (Exif 2.32, 4.6.4)."""
    import torch

    grey = np.linspace(0, 65535, 40 * 30).astype(np.uint16).reshape(30, 40, 1)
    turned = corners().transpose(Image.Transpose.ROTATE_90)
    bodies = [
        encode_png(grey),
        encode_png((grey >> 8).astype(np.uint8)),
        saved(turned, "PNG", exif=b"Exif\0\0" + tiff(6)),
        saved(corners(), "PNG"),
    ]
    _, images = next(
        image_batches(loaded, [BenchmarkSample(str(n), body, label=0) for n, body in enumerate(bodies)], 4)
    )
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[2], images[3])
