import io
import json
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from laion_assets.clip.encoder import Encoder, cosine_similarity, load_encoder, unit_rows
from laion_assets.clip.options import EncoderError, EncoderOptions, encoder_identity, encoder_name
from laion_assets.clip.thresholds import published_thresholds
from tests.unit.clip.conftest import picture
from tests.unit.images.files import corners, saved, tiff
from tests.unit.images.png_decoder import encode_png

Options = Callable[..., EncoderOptions]


def test_options_and_calibration_import_neither_torch_nor_open_clip():
    modules = "encoder, embed, calibration, thresholds, training, text_tower, cpu"
    code = f"import sys; from laion_assets.clip import {modules}; print({{'torch', 'open_clip'}} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


def test_the_encoder_needs_no_polars():
    code = "import sys; import laion_assets.clip.encoder; print({'polars', 'pyarrow', 'dagster'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


def test_vectors_are_those_of_open_clip(encoder: Encoder, model_configs: str, weights: str):
    import open_clip
    import torch

    open_clip.add_model_config(model_configs)
    model, _, preprocess = open_clip.create_model_and_transforms("tiny", pretrained=weights)
    model.eval()
    blobs = [picture(seed, form=form) for seed, form in enumerate(["JPEG", "PNG", "WEBP", "JPEG", "PNG"])]
    texts = ["a", "ein blauer Kreis, groß", "красный", "犬の写真 " * 20, "", "!!!"]
    with torch.inference_mode():
        pixels = torch.stack([preprocess(Image.open(io.BytesIO(blob))) for blob in blobs])
        expected_images = model.encode_image(pixels, normalize=True).numpy()
        expected_texts = model.encode_text(open_clip.get_tokenizer("tiny")(texts), normalize=True).numpy()
    images, ok = encoder.encode_images(blobs)
    assert ok.all()
    np.testing.assert_allclose(images, expected_images, atol=1e-3)
    np.testing.assert_allclose(encoder.encode_texts(texts)[0], expected_texts, atol=1e-3)


def test_vectors_have_length_one_and_float16_precision(encoder: Encoder):
    for vectors in (encoder.encode_images([picture(1)])[0], encoder.encode_texts(["a cat"])[0]):
        assert vectors.dtype == np.float32
        assert vectors.shape == (1, encoder.dimension)
        np.testing.assert_array_equal(vectors, vectors.astype(np.float16).astype(np.float32))
        assert np.linalg.norm(vectors) == pytest.approx(1, abs=1e-3)


def test_pictures_that_do_not_decode_are_told_apart_and_shift_no_other(encoder: Encoder):
    good = [picture(seed) for seed in range(6)]
    broken = [b"", b"<html>not a picture</html>", good[0][: len(good[0]) // 2], b"\x89PNG\r\n\x1a\n" + b"\x00" * 40]
    mixed = [good[0], broken[0], good[1], broken[1], broken[2], good[2], broken[3], *good[3:]]
    vectors, ok = encoder.encode_images(mixed)
    assert ok.tolist() == [blob in good for blob in mixed]
    assert not vectors[~ok].any()
    np.testing.assert_allclose(vectors[ok], encoder.encode_images(good)[0], atol=1e-3)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16"])
def test_every_colour_mode_is_encoded(encoder: Encoder, mode: str):
    file = io.BytesIO()
    Image.new(mode, (30, 20)).save(file, "TIFF")
    assert encoder.encode_images([file.getvalue()])[1].all()


def test_a_text_that_was_cut_off_is_marked(encoder: Encoder):
    fits, one_more = " ".join(["dog"] * 14), " ".join(["dog"] * 15)  # start and end take 2 of 16 tokens
    truncated = encoder.encode_texts(["dog", one_more, fits, "", one_more + " cat"])[1]
    assert truncated.tolist() == [False, True, False, False, True]


def test_equal_texts_get_equal_vectors_in_the_order_given(encoder: Encoder):
    vectors, _ = encoder.encode_texts(["b", "a", "b", "c", "d", "e", "a"])
    np.testing.assert_array_equal(vectors[0], vectors[2])
    np.testing.assert_array_equal(vectors[1], vectors[6])
    np.testing.assert_allclose(vectors[3], encoder.encode_texts(["c"])[0][0], atol=1e-3)


def test_nothing_in_nothing_out(encoder: Encoder):
    assert encoder.encode_images([])[0].shape == (0, encoder.dimension)
    assert encoder.encode_texts([])[0].shape == (0, encoder.dimension)


def test_bfloat16_agrees_with_float32(encoder: Encoder, options: Options):
    half = load_encoder(options(precision="amp_bf16"))
    assert (encoder.precision, half.precision) == ("fp32", "amp_bf16")
    blobs, texts = [picture(seed) for seed in range(8)], ["a red square", "ein Hund", "猫"]
    assert cosine_similarity(encoder.encode_images(blobs)[0], half.encode_images(blobs)[0]).min() > 0.99
    assert cosine_similarity(encoder.encode_texts(texts)[0], half.encode_texts(texts)[0]).min() > 0.99


def test_an_encoder_says_what_it_is(encoder: Encoder, options: Options, weights: str):
    digest = sha256(Path(weights).read_bytes()).hexdigest()
    assert encoder.sha256 == digest
    assert encoder.name == encoder_name(options()) == f"tiny/{digest[:12]}"
    described = json.loads(encoder.preprocess)
    assert (described["size"], described["interpolation"], described["context_length"]) == ([16, 16], "bicubic", 16)


def test_identity_follows_the_content_of_a_weights_file_not_its_place(options: Options, weights: str, tmp_path: Path):
    moved = tmp_path / "elsewhere.safetensors"
    moved.write_bytes(Path(weights).read_bytes())
    assert encoder_identity(options()) == encoder_identity(options(pretrained=str(moved)))
    moved.write_bytes(b"other weights")
    assert encoder_identity(options()) != encoder_identity(options(pretrained=str(moved)))


def test_identity_of_published_weights_is_their_tag():
    assert encoder_identity(EncoderOptions()) == "ViT-B-32/tag:laion2b_s34b_b79k"
    assert encoder_name(EncoderOptions()) == "ViT-B-32/laion2b_s34b_b79k"
    assert encoder_name(EncoderOptions(model="hf-hub:owner/name", pretrained="")) == "hf-hub:owner/name"


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ({"model": "tinier"}, "no such configuration"),
        ({"pretrained": "no_such_tag"}, "expected a file or one of its tags"),
        ({"pretrained": "/nowhere/weights.pt"}, "found no file /nowhere/weights.pt"),
        ({"model_configs": "/nowhere"}, "expected a folder of open_clip's JSON model configurations"),
        ({"model": "wider"}, "cannot be loaded with the weights"),
        ({"device": "gpu"}, "expected `auto`, `cpu` or `cuda"),
    ],
)
def test_what_cannot_be_loaded_says_why(options: Options, replaced: dict[str, str], said: str):
    with pytest.raises(EncoderError, match=said):
        load_encoder(options(**replaced))


def test_a_file_that_holds_no_weights_says_so(options: Options, tmp_path: Path):
    for name in ("broken.safetensors", "broken.pt"):
        (tmp_path / name).write_bytes(b"no weights at all")
        with pytest.raises(EncoderError, match="cannot be loaded with the weights"):
            load_encoder(options(pretrained=str(tmp_path / name)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": ""},
        {"pretrained": ""},
        {"precision": "int8"},
        {"batch_size": 0},
        {"decode_threads": -1},
        {"model": "local-dir:x"},
    ],
)
def test_options_that_cannot_be_run_are_refused(wrong: dict[str, object]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EncoderOptions(**wrong)  # type: ignore[arg-type]


def test_reading_texts_only_as_far_as_they_go_changes_neither_vectors_nor_gradients(model_configs: str):
    import open_clip
    import torch

    from laion_assets.clip.text_tower import encode_texts

    open_clip.add_model_config(model_configs)
    torch.manual_seed(1)
    model = open_clip.create_model("tiny")
    tokens = open_clip.get_tokenizer("tiny")(["a", "a long sentence about five dogs", "", "two words", "dog " * 40])
    gradients = []
    for encode in (lambda: model.encode_text(tokens, normalize=True), lambda: encode_texts(model, tokens)):
        model.zero_grad()
        vectors = encode()
        (vectors * torch.arange(16)).sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None] + [vectors.detach()])
    for whole, shortened in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, shortened, atol=1e-4, rtol=1e-4)


def test_rows_of_zeros_stay_and_have_no_similarity():
    rows = np.array([[0, 0], [3, 4]], np.float32)
    np.testing.assert_allclose(unit_rows(rows), [[0, 0], [0.6, 0.8]], atol=1e-3)
    np.testing.assert_allclose(cosine_similarity(rows, rows), [0, 1])


def test_published_thresholds_belong_to_published_encoders():
    assert published_thresholds("ViT-B-32", "openai") == {"en": 0.28, "multi": 0.26, "nolang": 0.26}
    assert published_thresholds("ViT-L-14", "openai") is None


def test_pictures_are_encoded_as_they_are_seen(encoder: Encoder):
    """16 bits as their high byte, turned as EXIF says, over white where they are transparent."""
    grey = np.linspace(0, 65535, 40 * 30).astype(np.uint16).reshape(30, 40, 1)
    turned, upright = corners().transpose(Image.Transpose.ROTATE_90), corners()
    clear, white = Image.new("RGBA", upright.size, (0, 0, 0, 0)), Image.new("RGB", upright.size, "white")
    misread = [encode_png(grey), saved(turned, "PNG", exif=b"Exif\0\0" + tiff(6)), saved(clear, "PNG")]
    plain = [encode_png((grey >> 8).astype(np.uint8)), saved(upright, "PNG"), saved(white, "PNG")]
    vectors, ok = encoder.encode_images(misread)
    assert ok.all()
    np.testing.assert_array_equal(vectors, encoder.encode_images(plain)[0])
