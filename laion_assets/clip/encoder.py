"""An open_clip model as an encoder: picture bytes and texts in, unit vectors out.

The same code runs on a GPU (bfloat16 autocast) and on a CPU (float32). Needs torch, open_clip, numpy and pillow, no
more, and imports the heavy ones only when an encoder is loaded.
"""

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from laion_assets.clip.cpu import prepare_cpu
from laion_assets.clip.text_tower import encode_texts
from laion_assets.common.digests import file_sha256
from laion_assets.images.decode import rgb_picture

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

PRECISIONS: Final = ("auto", "fp32", "amp_bf16", "amp_fp16")
_HUB_PREFIX: Final = "hf-hub:"
_WORDS_CACHED: Final = 500_000
"""Words whose tokens open_clip's tokenizer may remember; it never forgets by itself."""


class EncoderError(Exception):
    """An encoder cannot be loaded as configured. The message says what was expected, what was found and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderOptions:
    """Which encoder, and how it runs."""

    model: str = "ViT-B-32"
    """open_clip's name of the architecture, or `hf-hub:owner/name`."""
    pretrained: str = "laion2b_s34b_b79k"
    """open_clip's tag of the weights, or the path of a weights file; empty for an `hf-hub:` model."""
    model_configs: str | None = None
    """Folder of further open_clip model configurations (JSON), or None."""
    precision: str = "auto"
    """`fp32`, `amp_bf16`, `amp_fp16`, or `auto`: `amp_bf16` on a GPU, `fp32` on a CPU."""
    device: str = "auto"
    """torch's name of the device, or `auto`: the first GPU if there is one, else the CPU."""
    batch_size: int = 256
    """Images, or texts, a forward pass."""
    decode_threads: int = 0
    """Threads that decode pictures; 0: one a core, at most 16."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if not self.model:
            raise ValueError("model: expected the name of an open_clip model, found nothing")
        if self.model.startswith("local-dir:"):
            raise ValueError("model: give a local model as its configuration's name, model_configs and a weights file")
        if not self.pretrained and not self.model.startswith(_HUB_PREFIX):
            raise ValueError(f"pretrained: expected a weights tag or file for {self.model}, found nothing")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision: expected one of {', '.join(PRECISIONS)}, found {self.precision!r}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, found {self.batch_size}")
        if self.decode_threads < 0:
            raise ValueError(f"decode_threads: expected 0 or more, found {self.decode_threads}")


def encoder_name(options: EncoderOptions) -> str:
    """Name an encoder by model and weights, without loading it.

    Returns:
        `model/tag`, `model/first 12 digits of the weights file's sha256`, or an `hf-hub:` name as it is.

    Raises:
        EncoderError: `pretrained` is written as a path, and no file lies there.
    """
    if options.model.startswith(_HUB_PREFIX):
        return options.model
    file = _weights_file(options)
    return f"{options.model}/{content_sha256(file)[:12] if file else options.pretrained}"


def encoder_identity(options: EncoderOptions) -> str:
    """Say which weights an encoder has, without loading it: equal for equal weights, wherever their file lies.

    Returns:
        `model/sha256:…` of the content of a weights file, `model/tag:…` otherwise.

    Raises:
        EncoderError: `pretrained` is written as a path, and no file lies there.
    """
    file = None if options.model.startswith(_HUB_PREFIX) else _weights_file(options)
    return f"{options.model}/" + (f"sha256:{content_sha256(file)}" if file else f"tag:{options.pretrained}")


def _weights_file(options: EncoderOptions) -> Path | None:
    path = Path(options.pretrained)
    if path.is_file():
        return path
    if len(path.parts) > 1 or path.suffix:
        raise EncoderError(
            f"the weights of {options.model}: expected a file or one of open_clip's tags, found no file {path}; "
            "correct the path, or write the weights there first"
        )
    return None


def content_sha256(path: Path) -> str:
    """The sha256 of a file, computed once for each of its states."""
    state = path.stat()
    return _sha256_of(str(path.resolve()), state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=64)
def _sha256_of(path: str, _mtime_ns: int, _size: int) -> str:
    return file_sha256(Path(path))


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


def resolve_device(device: str) -> str:
    """The device that `EncoderOptions.device` asks for, by torch's name.

    Raises:
        EncoderError: no such device.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise EncoderError(f"device: expected `auto`, `cpu` or `cuda[:n]`, found {device!r}") from error
    if wanted.type == "cuda" and (not torch.cuda.is_available() or (wanted.index or 0) >= torch.cuda.device_count()):
        raise EncoderError(
            f"device {device} was asked for, and torch sees {torch.cuda.device_count()} GPUs; use `auto` or `cpu`"
        )
    return device


def resolve_precision(precision: str, device_type: str) -> str:
    """What `EncoderOptions.precision` means on a device of that type: any of PRECISIONS but `auto`."""
    if precision == "auto":
        return "amp_bf16" if device_type == "cuda" else "fp32"
    return precision


def load_open_clip(options: EncoderOptions, device: str) -> tuple[Any, Callable[[Any], torch.Tensor], Any, Path]:
    """Load a model as open_clip makes it, for whoever needs more of it than an `Encoder` shows.

    Returns:
        The model in evaluation mode, its preprocessing of a PIL picture, its tokenizer, and the weights file.

    Raises:
        EncoderError: model or weights do not exist, or do not fit each other.
    """
    import open_clip

    if options.model_configs is not None:
        add_model_configs(options.model_configs)
    published = {}
    if options.model.startswith(_HUB_PREFIX):
        weights = _fetch(lambda: open_clip.pretrained.download_pretrained_from_hf(options.model[len(_HUB_PREFIX) :]))
    else:
        if open_clip.get_model_config(options.model) is None:
            raise EncoderError(
                f"expected the name of an open_clip model, found {options.model!r}: no such configuration is shipped "
                f"or in model_configs ({options.model_configs or 'not set'}); `open_clip.list_models()` names them all"
            )
        published = open_clip.get_pretrained_cfg(options.model, options.pretrained)
        file = None if published else _weights_file(options)
        if not published and file is None:
            tags = ", ".join(open_clip.list_pretrained_tags_by_model(options.model)) or "none"
            raise EncoderError(
                f"{options.model} has no weights {options.pretrained!r}: expected a file or one of its tags ({tags})"
            )
        weights = str(file) if file else _fetch(lambda: open_clip.download_pretrained(published))
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(
            options.model,
            pretrained=options.pretrained or None,
            device=device,
            pretrained_text=False,
            # Weights trained with QuickGELU give wrong vectors under plain GELU, and open_clip only warns of it.
            force_quick_gelu=bool(published.get("quick_gelu")),
        )
        tokenizer = open_clip.get_tokenizer(options.model)
    except Exception as error:  # each format's reader raises its own errors on a broken file
        raise EncoderError(f"{options.model} cannot be loaded with the weights {weights}: {error}") from error
    model.eval()
    return model, preprocess, tokenizer, Path(weights)


def add_model_configs(folder: str) -> None:
    """Make the open_clip model configurations in a folder known to open_clip, in this process.

    Raises:
        EncoderError: the folder does not exist or holds no JSON file.
    """
    import open_clip

    path = Path(folder)
    if not any(path.glob("*.json")):
        raise EncoderError(
            f"model_configs: expected a folder of open_clip's JSON model configurations, found none in {path}"
        )
    open_clip.add_model_config(path)


def _fetch(download: Callable[[], str]) -> str:
    try:
        return download()
    except Exception as error:  # the hub's client raises its own, urllib's, requests' and plain errors
        raise EncoderError(
            f"the weights cannot be fetched: {error}; connect once so that they are cached, or name a file"
        ) from error


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
