"""LAION's watermark detector: an EfficientNet-B3a on pictures of 256 × 256 pixels, two classes.

Shape and preparation are those of LAION-5B-WatermarkDetection (``example_use.py``): timm's ``efficientnet_b3a`` with
three linear layers in place of its classifier, pictures squeezed to a square, ImageNet's mean and deviation. The first
of the two classes is *watermark*.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from laion_assets.clip.device import resolve_device
from laion_assets.images.decode import rgb_picture
from laion_assets.scoring.head import Head
from laion_assets.scoring.tensors import HeadError, Tensor
from laion_assets.webdataset.reader import TarError, TarReader
from laion_assets.webdataset.samples import pictures_of

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)

_SIDE: Final = 256
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BATCH: Final = 32

PREPROCESS: Final = json.dumps(
    {"interpolation": "bilinear", "mean": _MEAN, "resize_mode": "squash", "size": [_SIDE, _SIDE], "std": _DEVIATION},
    sort_keys=True,
)
"""How pictures are prepared, in the words that encoders have for it."""
PRECISION: Final = "fp32"


class WatermarkScorer:
    """The detector, loaded.

    Args:
        head: a head that sees pixels.
        tensors: of its file.
        device: as `EncoderOptions.device`.

    Raises:
        HeadError: the tensors are not those of the published shape.
    """

    def __init__(self, head: Head, tensors: Mapping[str, Tensor], device: str = "auto") -> None:
        import torch

        self.device = resolve_device(device)
        network = _network(three_layers="classifier.5.weight" in tensors)
        wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        found = {name: value.shape for name, value in tensors.items()}
        strange = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        if strange:
            raise HeadError(
                f"the head {head.name} names no encoder, so that it sees pixels: expected the tensors of LAION's "
                f"watermark detector (EfficientNet-B3a), found others: {', '.join(strange[:3])}"
                + (f" and {len(strange) - 3} more" if len(strange) > 3 else "")
            )
        network.load_state_dict({name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in tensors.items()})
        self._network = network.eval().to(self.device)

    def score(self, images: Sequence[bytes], threads: ThreadPoolExecutor) -> tuple[npt.NDArray[np.float64], list[bool]]:
        """The probability of a watermark of each picture that can be decoded, and which can."""
        import torch

        decoded = list(threads.map(_prepared, images))
        pixels = [torch.from_numpy(picture) for picture in decoded if picture is not None]
        ok = [picture is not None for picture in decoded]
        if not pixels:
            return np.zeros(0), ok
        with torch.inference_mode():
            answers: torch.Tensor = self._network(torch.stack(pixels).to(self.device)).double()
        return torch.softmax(answers, dim=1)[:, 0].cpu().numpy(), ok


def _network(*, three_layers: bool) -> Any:
    import timm
    from torch import nn

    network: Any = timm.create_model("efficientnet_b3", pretrained=False, num_classes=2)  # timm's name of b3a today
    if three_layers:
        network.classifier = nn.Sequential(
            nn.Linear(network.num_features, 625), nn.ReLU(), nn.Dropout(0.3),
            nn.Linear(625, 256), nn.ReLU(), nn.Linear(256, 2),
        )  # fmt: skip
    return network


def _prepared(image: bytes) -> npt.NDArray[np.float32] | None:
    from PIL import Image

    try:
        with rgb_picture(image) as picture:
            pixels = np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR), np.float32)
    except Exception as error:  # noqa: BLE001 - decoders raise anything; the caller counts the picture
        _log.debug("a picture of %d bytes cannot be decoded: %s", len(image), error)
        return None
    scaled = (pixels / 255 - np.array(_MEAN, np.float32)) / np.array(_DEVIATION, np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def score_tar(scorer: WatermarkScorer, tar: Path, pictures: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Score pictures of one tar, in the order of their sample keys.

    Args:
        scorer: the loaded detector.
        tar: a webdataset tar.
        pictures: a column `sample_key`, and whatever else is known of each.

    Yields:
        What else is known, and `value`, a batch at a time; `value` is null where a picture cannot be decoded.

    Raises:
        TarError: the tar cannot be read to its end, or lacks a picture.
    """
    ordered = pictures.sort("sample_key")
    places = pictures_of(tar)
    missing = set(ordered["sample_key"]) - places.keys()
    if missing:
        raise TarError(f"{tar} lacks the pictures of {len(missing)} sample keys: download its partition again")
    with TarReader(tar) as reader, ThreadPoolExecutor(thread_name_prefix="decode") as threads:
        for batch in ordered.iter_slices(_BATCH):
            images = [reader.read(*places[key][:2]) for key in batch["sample_key"]]
            scores, ok = scorer.score(images, threads)
            values = np.full(len(ok), np.nan)
            values[np.array(ok, bool)] = scores
            yield batch.drop("sample_key").with_columns(value=pl.Series(values, dtype=pl.Float32).fill_nan(None))
