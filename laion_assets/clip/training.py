"""Training of a small CLIP from scratch on pictures held in memory, on a CPU, in a bounded number of samples.

For encoders that a lake makes for itself, such as the sample's. Runs as a process of its own
(`python -m laion_assets.clip.training JOB.json`), so that the allocator can be set and the memory is given back. Large
models are trained by open_clip's own driver, which does not belong here.
"""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from laion_assets.clip.cpu import CPU_ENVIRONMENT, prepare_cpu
from laion_assets.clip.text_tower import encode_texts
from laion_assets.clip.weights import write_weights
from laion_assets.common.processes import end_with_parent, with_parent

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)

_LARGEST_LOGIT_SCALE: Final = math.log(100)
"""CLIP's own bound (Radford et al., 2021, section 2.5)."""


class TrainingError(Exception):
    """A training cannot start or came to nothing. The message says what was expected, what was found and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingOptions:
    """How a small CLIP is trained. The defaults suit the sample: a good minute on two idle cores."""

    samples: int = 100_000
    """Samples seen. The only bound: time plays no part, so that the same options give the same weights."""
    batch_size: int = 256
    """Samples a step."""
    learning_rate: float = 4e-3
    """Peak learning rate of AdamW; falls to 0 along a cosine."""
    warmup_steps: int = 100
    """Steps of linear warm-up, at most a fifth of all."""
    weight_decay: float = 0.1
    """Of matrices and kernels; biases, norms and the logit scale have none."""
    beta2: float = 0.98
    """AdamW's second moment decay."""
    threads: int = 2
    """torch threads. The weights depend on it in their last bits."""
    seed: int = 0
    """Of initial weights and order of samples."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        for name, least in (("batch_size", 2), ("warmup_steps", 0), ("threads", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, found {getattr(self, name)}")
        if self.samples < self.batch_size:
            raise ValueError(f"samples: expected at least one batch of {self.batch_size}, found {self.samples}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate: expected more than 0, found {self.learning_rate}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay: expected 0 or more, found {self.weight_decay}")
        if not 0 < self.beta2 < 1:
            raise ValueError(f"beta2: expected between 0 and 1, found {self.beta2}")


@dataclass(frozen=True, slots=True, eq=False)
class TrainingPairs:
    """Pictures and what is said of them."""

    images: npt.NDArray[np.uint8]
    """uint8 [n, height, width, 3], RGB."""
    captions: Sequence[str]
    image_indices: npt.NDArray[np.int64]
    """int64 [captions]: the picture each caption is of. Every picture has at least one."""

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit each other."""
        if self.images.ndim != 4 or self.images.shape[3] != 3 or self.images.dtype != np.uint8:
            raise TrainingError(f"images: expected uint8 [n, h, w, 3], found {self.images.dtype} {self.images.shape}")
        if self.image_indices.shape != (len(self.captions),):
            raise TrainingError(
                f"image_indices: expected one a caption ({len(self.captions)}), found {self.image_indices.shape}"
            )
        described = np.zeros(len(self.images), np.bool_)
        if len(self.captions) and not 0 <= self.image_indices.min() <= self.image_indices.max() < len(self.images):
            raise TrainingError(f"image_indices: expected 0 to {len(self.images) - 1}, found others")
        described[self.image_indices] = True
        if not described.all():
            raise TrainingError(
                f"captions: expected one for every picture, {int((~described).sum())} pictures have none"
            )

    def write(self, path: Path) -> None:
        """Write to one `.npz` file that `read` reads."""
        text = np.frombuffer(json.dumps(list(self.captions)).encode(), np.uint8)
        with path.open("wb") as file:
            np.savez(file, images=self.images, captions=text, image_indices=self.image_indices)

    @classmethod
    def read(cls, path: Path) -> TrainingPairs:
        """Read what `write` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(arrays["images"], json.loads(arrays["captions"].tobytes()), arrays["image_indices"])


def train_in_process(
    pairs: TrainingPairs,
    *,
    model: str,
    model_configs: str | None,
    options: TrainingOptions,
    output: Path,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Train in a process of its own, with the allocator that CPU training needs. Arguments and result are those of
    `train`.

    Raises:
        TrainingError: the process failed; the message ends with what it said.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as folder:
        pairs.write(Path(folder) / "pairs.npz")
        job = Path(folder) / "job.json"
        job.write_text(
            json.dumps(
                {
                    "pairs": str(Path(folder) / "pairs.npz"),
                    "model": model,
                    "model_configs": model_configs,
                    "options": asdict(options),
                    "output": str(output),
                }
            )
        )
        errors = Path(folder) / "errors.txt"
        with (
            errors.open("w") as complaints,
            subprocess.Popen(
                [sys.executable, "-m", "laion_assets.clip.training", str(job)],
                env={**os.environ, **CPU_ENVIRONMENT, **with_parent()},
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
            ) as process,
        ):
            try:
                _relay(process.stdout, progress)
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            said = errors.read_text(errors="replace").strip().splitlines()
            raise TrainingError(
                f"the training process ended with {process.returncode}: {' '.join(said[-3:]) or 'silent'}"
            )
    return output


def _relay(lines: IO[str] | None, progress: Callable[[int], None] | None) -> None:
    for line in lines or ():
        if progress is not None and line.strip().isdigit():
            progress(int(line))


def train(
    pairs: TrainingPairs,
    *,
    model: str,
    model_configs: str | None,
    options: TrainingOptions,
    output: Path,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Train an open_clip model from scratch with CLIP's contrastive loss (Radford et al., 2021).

    Every pass shows each picture once, with one of its captions drawn at random; no batch holds a picture twice
    unless there are fewer pictures than a batch. Equal arguments give equal weights on one kind of processor and one
    torch.

    Args:
        pairs: What to learn from. Pictures of another size than the model's are resized as the encoder will.
        model: open_clip's name of the architecture.
        model_configs: Folder of further open_clip model configurations, or None.
        options: How.
        output: The weights file to write, `.safetensors`; appears complete or not at all. open_clip loads it by
            `pretrained=str(output)`.
        progress: Called with the number of samples seen, about once a second.

    Returns:
        `output`.

    Raises:
        TrainingError: no such model, or the loss stopped being a number.
    """
    if output.suffix != ".safetensors":
        raise TrainingError(f"output: expected a name that ends in .safetensors, found {output.name}")
    prepare_cpu()
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    clip, tokens, images = _prepare(pairs, model, model_configs)
    started = time.monotonic()
    loss = _optimise(clip, images, tokens, pairs.image_indices, options, progress or (lambda _: None))
    seconds = time.monotonic() - started
    _log.info("%d samples in %.1f s, last loss %.3f", options.samples, seconds, loss)
    write_weights(clip.state_dict(), output)
    return output


def _prepare(pairs: TrainingPairs, model: str, model_configs: str | None) -> tuple[Any, torch.Tensor, torch.Tensor]:
    import open_clip
    import torch

    from laion_assets.clip.open_clip_models import add_model_configs

    if model_configs is not None:
        add_model_configs(model_configs)
    if open_clip.get_model_config(model) is None:
        raise TrainingError(
            f"expected the name of an open_clip model, found {model!r}; model_configs is {model_configs}"
        )
    clip, _, preprocess = open_clip.create_model_and_transforms(model, pretrained_text=False)
    clip.train()
    clip.visual.to(memory_format=torch.channels_last)
    distinct, position = np.unique(np.array(pairs.captions, dtype=object), return_inverse=True)
    tokens = open_clip.get_tokenizer(model)(distinct.tolist())[torch.from_numpy(position)]
    return clip, tokens, _pixels(pairs.images, clip.visual.image_size, preprocess)


def _pixels(images: npt.NDArray[np.uint8], size: int | tuple[int, int], preprocess: Any) -> torch.Tensor:
    """Make uint8 [n, 3, height, width] in the model's size, laid out channels last; normalised batch by batch."""
    import torch
    from PIL import Image
    from torchvision.transforms import Compose

    height, width = (size, size) if isinstance(size, int) else size
    if images.shape[1:3] != (height, width):
        geometry = Compose([step for step in preprocess.transforms if type(step).__name__ in ("Resize", "CenterCrop")])
        resized = np.empty((len(images), height, width, 3), np.uint8)
        for row, image in enumerate(images):
            resized[row] = np.asarray(geometry(Image.fromarray(image)))
        images = resized
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)


def _optimise(
    clip: Any,
    images: torch.Tensor,
    tokens: torch.Tensor,
    image_indices: npt.NDArray[np.int64],
    options: TrainingOptions,
    progress: Callable[[int], None],
) -> float:
    import open_clip
    import torch

    optimiser = torch.optim.AdamW(
        _parameter_groups(clip, options.weight_decay), lr=options.learning_rate, betas=(0.9, options.beta2), fused=True
    )
    loss_function = open_clip.ClipLoss()
    mean, std = (torch.tensor(clip.visual.preprocess_cfg[key]).view(1, 3, 1, 1) * 255 for key in ("mean", "std"))
    steps = options.samples // options.batch_size
    reported = time.monotonic()
    value = math.nan
    batches = _batches(image_indices, len(images), options.batch_size, options.seed)
    for step, (image_rows, caption_rows) in zip(range(steps), batches, strict=False):
        for group in optimiser.param_groups:
            group["lr"] = _learning_rate(step, steps, options)
        pixels = ((images[image_rows] - mean) / std).contiguous(memory_format=torch.channels_last)
        images_of_step = clip.encode_image(pixels, normalize=True)
        loss = loss_function(images_of_step, encode_texts(clip, tokens[caption_rows]), clip.logit_scale.exp())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            clip.logit_scale.clamp_(0, _LARGEST_LOGIT_SCALE)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(f"the loss became {value} at step {step} of {steps}: lower learning_rate")
        if time.monotonic() - reported > 1 or step + 1 == steps:
            reported = time.monotonic()
            progress((step + 1) * options.batch_size)
    return value


def _parameter_groups(clip: Any, weight_decay: float) -> list[dict[str, Any]]:
    decayed: list[torch.nn.Parameter] = []
    plain: list[torch.nn.Parameter] = []
    for parameter in clip.parameters():
        (decayed if parameter.ndim >= 2 else plain).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _learning_rate(step: int, steps: int, options: TrainingOptions) -> float:
    warmup = min(options.warmup_steps, steps // 5)
    if step < warmup:
        return options.learning_rate * (step + 1) / warmup
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _batches(
    image_indices: npt.NDArray[np.int64], pictures: int, batch_size: int, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless batches of (picture rows, caption rows), int64 [batch_size] each."""
    import torch

    rng = np.random.default_rng(seed)
    by_picture = np.argsort(image_indices, kind="stable")
    captions = np.bincount(image_indices, minlength=pictures)
    first = np.concatenate([[0], np.cumsum(captions)[:-1]])
    left = np.empty(0, np.int64)
    while True:
        while len(left) < batch_size:
            left = np.concatenate([left, rng.permutation(pictures)])
        rows, left = left[:batch_size], left[batch_size:]
        said = by_picture[first[rows] + (rng.random(batch_size) * captions[rows]).astype(np.int64)]
        yield torch.from_numpy(rows), torch.from_numpy(said)


def _main(job_file: str) -> int:
    end_with_parent()
    job = json.loads(Path(job_file).read_text())

    def report(samples: int) -> None:
        sys.stdout.write(f"{samples}\n")
        sys.stdout.flush()

    try:
        train(
            TrainingPairs.read(Path(job["pairs"])),
            model=job["model"],
            model_configs=job["model_configs"],
            options=TrainingOptions(**job["options"]),
            output=Path(job["output"]),
            progress=report,
        )
    except (TrainingError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(_main(sys.argv[1]))
