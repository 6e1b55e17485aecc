"""Which encoder, how it runs, and how it is called: all that can be said without loading one."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from laion_assets.common.digests import file_sha256

PRECISIONS: Final = ("auto", "fp32", "amp_bf16", "amp_fp16")
HUB_PREFIX: Final = "hf-hub:"
"""How names of models on the Hugging Face hub begin."""


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
        if not self.pretrained and not self.model.startswith(HUB_PREFIX):
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
    if options.model.startswith(HUB_PREFIX):
        return options.model
    file = weights_file(options)
    return f"{options.model}/{content_sha256(file)[:12] if file else options.pretrained}"


def encoder_identity(options: EncoderOptions) -> str:
    """Say which weights an encoder has, without loading it: equal for equal weights, wherever their file lies.

    Returns:
        `model/sha256:…` of the content of a weights file, `model/tag:…` otherwise.

    Raises:
        EncoderError: `pretrained` is written as a path, and no file lies there.
    """
    file = None if options.model.startswith(HUB_PREFIX) else weights_file(options)
    return f"{options.model}/" + (f"sha256:{content_sha256(file)}" if file else f"tag:{options.pretrained}")


def weights_file(options: EncoderOptions) -> Path | None:
    """The file that ``pretrained`` names; None where it is a tag.

    Raises:
        EncoderError: it is written as a path, and no file lies there.
    """
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
