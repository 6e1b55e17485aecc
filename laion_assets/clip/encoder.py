"""An open_clip model as an encoder: picture bytes and texts in, unit vectors out.

The same code runs on a GPU (bfloat16 autocast) and on a CPU (float32). Needs torch, open_clip, numpy and pillow, no
more, and imports the heavy ones only when an encoder is loaded.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from laion_assets.clip.cpu import prepare_cpu
from laion_assets.clip.device import resolve_device, resolve_precision
from laion_assets.clip.open_clip_models import load_open_clip
from laion_assets.clip.options import EncoderOptions, content_sha256, encoder_name
from laion_assets.clip.text_tower import encode_texts
from laion_assets.images.decode import rgb_picture

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_WORDS_CACHED: Final = 500_000
"""Words whose tokens open_clip's tokenizer may remember; it never forgets by itself."""


@dataclass(frozen=True, slots=True)
class PreparedImages:
    """Decoded and preprocessed pictures, ready for the model."""

    pixels: torch.Tensor
    """float32 [decodable pictures, 3, height, width], in the order given."""
    ok: BoolArray
    """[pictures given]: which could be decoded."""


class Encoder:
    """A loaded model. Made by `load_encoder`."""

    def __init__(
        self,
        *,
        name: str,
        sha256: str,
        model: Any,
        preprocess: Callable[[Any], torch.Tensor],
        tokenizer: Any,
        preprocess_description: str,
        precision: str,
        device: str,
        options: EncoderOptions,
    ) -> None:
        self.name = name
        """Model and weights, as `encoder_name` gives them."""
        self.sha256 = sha256
        """Digest of the weights file, hexadecimal."""
        self.preprocess = preprocess_description
        """JSON: how pictures and texts are prepared."""
        self.precision = precision
        """What the forward pass computes in: `fp32`, `amp_bf16` or `amp_fp16`."""
        self.device = device
        self.batch_size = options.batch_size
        self.context_length = int(model.context_length)
        """Tokens a text may have, start and end included."""
        self._model = model
        self._transform = preprocess
        self._tokenizer = tokenizer
        self._pad = _pad_token(tokenizer)
        self._decoders = ThreadPoolExecutor(options.decode_threads or min(16, os.cpu_count() or 1), "decode")
        self.dimension = int(self._run(self._encode_tokens, self._tokenize([""])[0]).shape[1])
        """Length of a vector."""

    def encode_images(self, images: Sequence[bytes]) -> tuple[FloatArray, BoolArray]:
        """Encode pictures, in batches of `batch_size` in the order given.

        Args:
            images: Encoded pictures, in any format pillow reads.

        Returns:
            float32 [n, dimension], each row of length 1 and rounded to float16 precision, zeros where a picture could
            not be decoded; and bool [n], which could.
        """
        vectors = np.zeros((len(images), self.dimension), np.float32)
        ok = np.zeros(len(images), np.bool_)
        for start in range(0, len(images), self.batch_size):
            part = slice(start, start + self.batch_size)
            vectors[part], ok[part] = self.encode_prepared(self.prepare_images(images[part]))
        return vectors, ok

    def prepare_images(self, images: Sequence[bytes]) -> PreparedImages:
        """Decode and preprocess pictures on the decoding threads. May run while another batch is being encoded."""
        import torch

        decoded = list(self._decoders.map(self._decode, images))
        pixels = [image for image in decoded if image is not None]
        return PreparedImages(
            pixels=torch.stack(pixels) if pixels else torch.empty(0),
            ok=np.array([image is not None for image in decoded], np.bool_),
        )

    def encode_prepared(self, prepared: PreparedImages) -> tuple[FloatArray, BoolArray]:
        """Encode prepared pictures in one forward pass; returns what `encode_images` does."""
        vectors = np.zeros((len(prepared.ok), self.dimension), np.float32)
        if prepared.ok.any():
            vectors[prepared.ok] = self._run(self._model.encode_image, prepared.pixels)
        return vectors, prepared.ok

    def encode_texts(self, texts: Sequence[str]) -> tuple[FloatArray, BoolArray]:
        """Encode texts; equal texts are encoded once.

        Returns:
            float32 [n, dimension], each row of length 1 and rounded to float16 precision; and bool [n], whether the
            text had more tokens than the model reads, so that its end was cut off.
        """
        positions: dict[str, int] = {}
        inverse = np.array([positions.setdefault(text, len(positions)) for text in texts], np.int64)
        distinct = list(positions)
        vectors = np.zeros((len(distinct), self.dimension), np.float32)
        truncated = np.zeros(len(distinct), np.bool_)
        for start in range(0, len(distinct), self.batch_size):
            part = slice(start, start + self.batch_size)
            tokens, truncated[part] = self._tokenize(distinct[part])
            vectors[part] = self._run(self._encode_tokens, tokens)
        return vectors[inverse], truncated[inverse]

    def _decode(self, image: bytes) -> torch.Tensor | None:
        try:
            with rgb_picture(image) as picture:
                return self._transform(picture)
        except Exception as error:  # noqa: BLE001 - decoders raise anything; the caller counts the picture
            _log.debug("a picture of %d bytes cannot be decoded: %s", len(image), error)
            return None

    def _tokenize(self, texts: list[str]) -> tuple[torch.Tensor, BoolArray]:
        # One place more than the model has: what stands there was cut off.
        wide = self._tokenizer(texts, context_length=self.context_length + 1)
        truncated = wide[:, self.context_length] != self._pad
        tokens = wide[:, : self.context_length].clone()
        if truncated.any():
            cut = [text for text, was_cut in zip(texts, truncated.tolist(), strict=True) if was_cut]
            tokens[truncated] = self._tokenizer(cut, context_length=self.context_length)
        words = getattr(self._tokenizer, "cache", None)
        if isinstance(words, dict) and len(words) > _WORDS_CACHED:
            for word in [word for word in words if word not in self._tokenizer.encoder]:
                del words[word]
        return tokens, truncated.numpy()

    def _encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        return encode_texts(self._model, tokens)

    def _run(self, forward: Callable[[torch.Tensor], torch.Tensor], batch: torch.Tensor) -> FloatArray:
        import torch

        with torch.inference_mode(), self._autocast():
            features = forward(batch.to(self.device, non_blocking=True))
        return unit_rows(features.float().cpu().numpy())

    def _autocast(self) -> AbstractContextManager[object]:
        import torch

        if self.precision == "fp32":
            return nullcontext()
        dtype = torch.bfloat16 if self.precision == "amp_bf16" else torch.float16
        return torch.autocast(torch.device(self.device).type, dtype=dtype)


def unit_rows(vectors: FloatArray) -> FloatArray:
    """Scale each row to length 1 and round it to float16 precision; a row of zeros stays.

    Returns:
        float32, same shape. Rounding leaves the length within about 0.0005 of 1, and makes the values compress twice
        as well.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled = vectors / np.where(lengths > 0, lengths, 1.0)
    return scaled.astype(np.float16).astype(np.float32)


def cosine_similarity(images: FloatArray, texts: FloatArray) -> FloatArray:
    """Cosine of each row of `images` with the same row of `texts`.

    Returns:
        float32 [n], within [-1, 1]; 0 where a vector is all zeros. Corrects for the rounding of `unit_rows`, so that
        it equals what `array_cosine_similarity` says of the stored vectors.
    """
    left, right = images.astype(np.float64), texts.astype(np.float64)
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    cosine = np.einsum("nd,nd->n", left, right) / np.where(lengths > 0, lengths, 1.0)
    similarity: FloatArray = np.clip(cosine, -1.0, 1.0).astype(np.float32)
    return similarity


def load_encoder(options: EncoderOptions) -> Encoder:
    """Load a model, its preprocessing and its tokenizer.

    A weights tag is fetched from its publisher the first time, into the cache of the Hugging Face hub.

    Raises:
        EncoderError: model, weights or device do not exist, or do not fit each other.
    """
    prepare_cpu()
    import torch

    device = resolve_device(options.device)
    precision = resolve_precision(options.precision, torch.device(device).type)
    model, preprocess, tokenizer, weights = load_open_clip(options, device)
    return Encoder(
        name=encoder_name(options),
        sha256=content_sha256(weights),
        model=model,
        preprocess=preprocess,
        tokenizer=tokenizer,
        preprocess_description=_describe(model, tokenizer),
        precision=precision,
        device=device,
        options=options,
    )


def _pad_token(tokenizer: Any) -> int:
    inner = getattr(tokenizer, "tokenizer", None)
    pad = getattr(inner, "pad_token_id", None)
    return 0 if pad is None else int(pad)


def _describe(model: Any, tokenizer: Any) -> str:
    from open_clip.transform import PreprocessCfg

    config = asdict(PreprocessCfg(**model.visual.preprocess_cfg))
    inner = getattr(tokenizer, "tokenizer", None)
    config["tokenizer"] = getattr(inner, "name_or_path", None) or type(tokenizer).__name__
    config["context_length"] = int(model.context_length)
    return json.dumps(config, sort_keys=True)
