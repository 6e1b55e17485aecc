"""Heads are what their descriptions say, or are refused in a line; the published ones score as published."""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save_file

from laion_assets.clip.options import EncoderOptions, content_sha256
from laion_assets.scoring.head import Head, feeding, read_head, read_heads
from laion_assets.scoring.shapes import Affine, Layers, vector_scorer
from laion_assets.scoring.tensors import HeadError
from laion_assets.scoring.weights import checked, tensors_of
from tests.unit.scoring.heads import described, linear

LAKE = {"en": EncoderOptions(model="ViT-B-32", pretrained="openai")}
SECOND = "improved-aesthetic-predictor/sac+logos+ava1-l14-linearMSE.pth"
WIDTHS = {"ViT-B-32": 512, "ViT-B-16": 512, "ViT-L-14": 768}


def published(folder: Path, weights: Path, model: str, measures: str) -> Head:
    made_for = {"model": model, "pretrained": "openai", "width": WIDTHS[model], "normalised": True}
    return read_head(described(folder, weights, measures=measures, encoder=made_for))


def ratings(shared_data: Path, folder: str) -> npt.NDArray[np.float32]:
    """Embeddings of pictures that people rated 0 to 9."""
    files = [shared_data / "heads/aesthetic-predictor" / folder / f"rating{n}.npy" for n in range(10)]
    return np.stack([np.load(file).ravel() for file in files]).astype(np.float32)


@pytest.mark.parametrize(
    ("file", "model", "embeddings", "least", "most"),
    [
        ("aesthetic-predictor/sa_0_4_vit_b_32_linear.pth", "ViT-B-32", "vit_b_32_embeddings", -1.470, 11.006),
        ("aesthetic-predictor/sa_0_4_vit_l_14_linear.pth", "ViT-L-14", "vit_l_14_embeddings", -2.458, 11.304),
        (SECOND, "ViT-L-14", "vit_l_14_embeddings", 1.655, 5.747),
    ],
)  # fmt: skip
def test_aesthetic_scores_rise_with_what_people_said(
    shared_data: Path, tmp_path: Path, file: str, model: str, embeddings: str, least: float, most: float
) -> None:
    head = published(tmp_path, shared_data / "heads" / file, model, "aesthetic")
    scorer = vector_scorer(head, tensors_of(head))
    scores = scorer.score(ratings(shared_data, embeddings))
    assert isinstance(scorer, Affine)
    assert (np.diff(scores) > 0).all()
    assert scores[[0, -1]] == pytest.approx([least, most], abs=5e-4)


def test_the_five_layers_of_the_second_predictor_are_one(shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "heads" / SECOND
    head = published(tmp_path, file, "ViT-L-14", "aesthetic")
    tensors, vectors = tensors_of(head), ratings(shared_data, "vit_l_14_embeddings")
    rows = vectors.astype(np.float64)
    for layer in (0, 2, 4, 6, 7):
        rows = rows @ tensors[f"layers.{layer}.weight"].T.astype(np.float64) + tensors[f"layers.{layer}.bias"]
    assert vector_scorer(head, tensors).score(vectors) == pytest.approx(rows[:, 0], abs=1e-9)


@pytest.mark.parametrize(
    ("file", "model", "embeddings"),
    [
        ("clip_autokeras_nsfw_b32.weights.npz", "ViT-B-32", "vit_b_32_embeddings"),
        ("clip_autokeras_binary_nsfw.weights.npz", "ViT-L-14", "vit_l_14_embeddings"),
    ],
)
def test_ratings_of_photographs_are_safe(
    shared_data: Path, tmp_path: Path, file: str, model: str, embeddings: str
) -> None:
    head = published(tmp_path, shared_data / "heads/clip-nsfw-detector" / file, model, "unsafe")
    tensors, vectors = tensors_of(head), ratings(shared_data, embeddings)
    scorer = vector_scorer(head, tensors)
    assert isinstance(scorer, Layers)
    assert (scorer.score(vectors) < 0.001).all()
    assert (scorer.score(-vectors) > scorer.score(vectors)).any()
    # Layer by layer, as Keras computes it.
    rows = (vectors - tensors["layer_with_weights-1.mean"]) / np.sqrt(tensors["layer_with_weights-1.variance"])
    last = len(tensors) // 2
    for layer in range(2, last + 1):
        rows = rows @ tensors[f"layer_with_weights-{layer}.kernel"] + tensors[f"layer_with_weights-{layer}.bias"]
        rows = np.maximum(rows, 0) if layer < last else rows
    assert scorer.score(vectors) == pytest.approx(1 / (1 + np.exp(-rows[:, 0])), rel=1e-3)


def test_a_probability_is_one_however_far_out(tmp_path: Path) -> None:
    head = linear(tmp_path, measures="unsafe")
    scorer = vector_scorer(head, tensors_of(head))
    weights = scorer.weights if isinstance(scorer, Affine) else np.zeros(0)
    far = np.stack([weights * 1e4, -weights * 1e4, weights * 0]).astype(np.float32)
    scores = scorer.score(far)
    assert scores[:2] == pytest.approx([1, 0])
    assert 0 < scores[2] < 1


def test_another_file_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    head = linear(tmp_path)
    Path(head.weights).write_bytes(Path(head.weights).read_bytes() + b"\0")
    for read in (tensors_of, lambda head: checked(head, LAKE)):
        with pytest.raises(HeadError, match=rf"has the SHA-256 [0-9a-f]{{64}}, and {head.sha256} is pinned"):
            read(head)
    Path(head.weights).unlink()
    with pytest.raises(HeadError, match="expected its file at"):
        checked(head, LAKE)
    with pytest.raises(HeadError, match="expected its weights at"):
        tensors_of(head)


def test_a_head_is_refused_for_vectors_it_was_not_made_for(tmp_path: Path) -> None:
    assert feeding(linear(tmp_path), LAKE) == LAKE["en"]
    assert checked(linear(tmp_path), LAKE) == linear(tmp_path)

    def refused(**made_for: object) -> str:
        known = {"model": "ViT-B-32", "pretrained": "openai", "width": 4, "normalised": True}
        with pytest.raises(HeadError) as caught:
            checked(linear(tmp_path, encoder={**known, **made_for}), LAKE)
        return str(caught.value)

    assert "made for vectors of ViT-L-14/tag:openai, and this lake has those of ViT-B-32/tag:openai" in refused(
        model="ViT-L-14"
    )
    assert "made for vectors of ViT-B-32/tag:laion2b_s34b_b79k" in refused(pretrained="laion2b_s34b_b79k")
    assert "not normalised" in refused(normalised=False)
    head = linear(tmp_path, encoder={"model": "ViT-B-32", "pretrained": "openai", "width": 5, "normalised": True})
    with pytest.raises(HeadError, match="take vectors of width 4, its description names one of width 5"):
        vector_scorer(head, tensors_of(head))


def test_an_encoder_of_ones_own_is_known_by_its_weights(tmp_path: Path) -> None:
    own, other = tmp_path / "own.safetensors", tmp_path / "other.safetensors"
    own.write_bytes(b"one")
    other.write_bytes(b"other")
    made_for = {"model": "tiny", "pretrained": f"sha256:{content_sha256(own)}", "width": 4, "normalised": True}
    head = linear(tmp_path, encoder=made_for)
    encoders = {"multi": EncoderOptions(model="tiny", pretrained=str(own))}
    assert feeding(head, encoders) is encoders["multi"]
    with pytest.raises(HeadError, match="was made for"):
        feeding(head, {"en": EncoderOptions(model="tiny", pretrained=str(other))})


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"weight": (1, 4), "bias": (1,), "more": (1,)}, "found the tensors"),
        ({"weight": (2, 4), "bias": (2,)}, "found the tensors"),
        ({"weight": (1, 4), "bias": (2,)}, "found the tensors"),
        ({"layers.0.weight": (1, 4), "layers.0.bias": (1,)}, "found the tensors layers.0.bias 1, layers.0.weight 1×4"),
        ({"layer_with_weights-1.mean": (4,), "layer_with_weights-1.variance": (4,)}, "found the tensors"),
        ({f"layer_with_weights-{n}.{part}": shape for n, part, shape in (
            (1, "mean", (4,)), (1, "variance", (4,)), (2, "kernel", (4, 3)), (2, "bias", (3,)),
            (3, "kernel", (2, 1)), (3, "bias", (1,)))}, "found the tensors"),
    ],
)  # fmt: skip
def test_tensors_of_an_unknown_shape_are_refused(
    tmp_path: Path, tensors: dict[str, tuple[int, ...]], said: str
) -> None:
    weights = tmp_path / "w.safetensors"
    save_file({name: np.ones(shape, np.float32) for name, shape in tensors.items()}, weights)
    head = read_head(described(tmp_path, weights))
    with pytest.raises(HeadError, match=said):
        vector_scorer(head, tensors_of(head))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "Nice Head"}, "name: expected lower-case letters"),
        ({"measures": "beauty"}, "measures: expected one of aesthetic, unsafe, watermark, found 'beauty'"),
        ({"sha256": "abc"}, "sha256: expected 64 hex digits"),
        ({"sha256": int("1" * 64)}, "sha256: expected 64 hex digits, in quotation marks"),
        ({"weights": "http://models.example/head.pt"}, "weights: expected a path or an https address"),
        ({"encoder": {"model": "ViT-B-32"}}, "encoder: expected model, pretrained, width and normalised"),
        ({"colour": "red"}, "expected name, measures, sha256, and weights"),
    ],
)
def test_a_description_that_lacks_something_is_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"")
    file = described(tmp_path, weights, **changes)
    with pytest.raises(HeadError, match=said) as caught:
        read_head(file)
    assert str(caught.value).startswith(str(file))


def test_descriptions_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- a")
    (tmp_path / "none.yaml").write_text("name: [")
    for name, said in (("list.yaml", "found list"), ("none.yaml", "expected YAML"), ("absent.yaml", "found none")):
        with pytest.raises(HeadError, match=said):
            read_heads([str(tmp_path / name)])


def test_two_heads_of_one_name_or_file_are_refused(tmp_path: Path) -> None:
    linear(tmp_path)
    linear(tmp_path, seed=1, name="other")
    linear(tmp_path, name="again")
    files = {name: str(tmp_path / f"{name}.yaml") for name in ("nice", "other", "again")}
    assert [head.name for head in read_heads([files["other"], files["nice"]])] == ["other", "nice"]
    for pair in (("nice", "nice"), ("nice", "again")):
        with pytest.raises(HeadError, match=f"the heads {pair[0]} and {pair[1]} are one"):
            read_heads([files[name] for name in pair])


def test_what_counts_of_a_head_is_not_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    assert linear(tmp_path).content == linear(tmp_path / "elsewhere").content
    assert linear(tmp_path).content != linear(tmp_path, seed=1).content
    assert hashlib.sha256(Path(linear(tmp_path).weights).read_bytes()).hexdigest() == linear(tmp_path).sha256


def test_a_file_from_an_address_is_kept_and_held_against_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    near = linear(tmp_path)
    far = read_head(described(tmp_path, Path(near.weights), weights="https://127.0.0.1:1/head.safetensors"))
    with pytest.raises(
        HeadError, match=rf"does not give the file with the SHA-256 {near.sha256}.*put that file beside"
    ):
        tensors_of(far)
    kept = tmp_path / "cache" / "laion-lakehouse" / "heads" / near.sha256
    kept.write_bytes(Path(near.weights).read_bytes())
    assert tensors_of(far).keys() == {"weight", "bias"}
    kept.write_bytes(b"other")  # as a disk may make of it: it is asked for again
    with pytest.raises(HeadError, match="does not give the file"):
        tensors_of(far)
