"""What does resizing cost? Our resizer beside img2dataset's, on the same pictures, in one run.

    python measurements/resizing.py [--seconds 1]

For each kind of picture: processor seconds per 1,000 pictures with the default options of a download, the better of two
rounds, and the mean difference of what both store (0 to 255).
"""

import argparse
import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from laion_assets.download.options import DownloadOptions
from laion_assets.download.resizer import Resizer

SHARED_OPTIONS = (
    "image_size", "resize_mode", "resize_only_if_bigger", "encode_quality", "encode_format", "skip_reencode",
    "min_image_size", "max_image_area", "max_aspect_ratio",
)  # fmt: skip
Resize = Callable[[io.BytesIO], Any]


def pictures() -> dict[str, bytes]:
    """Noise as smooth as a photograph: detail of every size, less of it the smaller."""
    rng = np.random.default_rng(0)
    octaves = [rng.normal(0, 64 * 0.6**octave, (3 << octave, 4 << octave, 3)) for octave in range(9)]
    layers = [Image.fromarray((128 + layer).clip(0, 255).astype(np.uint8)) for layer in octaves]
    scene = np.sum([np.asarray(layer.resize((2000, 1500)), np.float32) - 128 for layer in layers], axis=0)
    whole = Image.fromarray((128 + scene).clip(0, 255).astype(np.uint8))

    def saved(width: int, kind: str, mode: str = "RGB", **options: Any) -> bytes:
        out = io.BytesIO()
        whole.resize((width, width * 3 // 4)).convert(mode).save(out, kind, **options)
        return out.getvalue()

    return {
        "2000 x 1500 JPEG": saved(2000, "JPEG", quality=88),
        "2000 x 1500 JPEG, progressive": saved(2000, "JPEG", quality=88, progressive=True),
        "1200 x 900 JPEG": saved(1200, "JPEG", quality=88),
        "800 x 600 JPEG": saved(800, "JPEG", quality=88),
        "400 x 300 JPEG, stays": saved(400, "JPEG", quality=88),
        "64 x 48 JPEG, stays": saved(64, "JPEG", quality=88),
        "800 x 600 PNG": saved(800, "PNG"),
        "800 x 600 PNG with alpha": saved(800, "PNG", "RGBA"),
        "1000 x 750 WebP": saved(1000, "WEBP", quality=80),
    }


def processor_seconds(resize: Resize, body: bytes, at_least: float) -> float:
    """Of one picture."""
    count, started = 0, time.process_time()
    while (spent := time.process_time() - started) < at_least:
        resize(io.BytesIO(body))
        count += 1
    return spent / count


def main() -> None:
    import contextlib

    import img2dataset.resizer as library

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="processor time for each measurement")
    seconds = parser.parse_args().seconds
    library.SuppressStdoutStderr = contextlib.nullcontext
    options = DownloadOptions()
    theirs: Resize = library.Resizer(**{name: getattr(options, name) for name in SHARED_OPTIONS})
    ours: Resize = Resizer(options)
    print(f"{'':32}{'img2dataset':>12}{'ours':>8}{'ratio':>7}{'difference':>12}")
    for name, body in pictures().items():
        a, b = (min(processor_seconds(each, body, seconds) for _ in range(2)) for each in (theirs, ours))
        stored = [np.asarray(Image.open(io.BytesIO(each(io.BytesIO(body))[0])), np.int16) for each in (theirs, ours)]
        difference = np.abs(stored[0] - stored[1]).mean()
        print(f"{name:32}{a * 1000:12.2f}{b * 1000:8.2f}{b / a:7.2f}{difference:12.2f}")


if __name__ == "__main__":
    main()
