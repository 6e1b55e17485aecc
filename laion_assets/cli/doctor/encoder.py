"""Whether the encoders load and what they run on, asked of a child process: torch is slow to import, and may crash."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from laion_assets.cli.doctor.findings import Finding, fail, ok, warn
from laion_assets.clip.options import EncoderOptions, encoder_name
from laion_assets.common.processes import end_with_parent, with_parent

_SECONDS = 180.0


class EncoderCheck:
    """The child, which begins at once and is asked for what it found in the end."""

    seconds = _SECONDS

    def __init__(self, encoders: Sequence[EncoderOptions]) -> None:
        from laion_assets.clip.cpu import CPU_ENVIRONMENT

        self._encoders = encoders
        # Weights are looked for on this machine: a check does not fetch gigabytes.
        quiet = {"HF_HUB_OFFLINE": "1", "NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONWARNINGS": "ignore"}
        self._child = subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps([asdict(options) for options in encoders])],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=CPU_ENVIRONMENT | os.environ | quiet | with_parent(),
        )

    def findings(self) -> Iterator[Finding]:
        """The GPU, and each encoder."""
        try:
            said, complained = self._child.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
            yield fail("encoder", f"not loaded within {_SECONDS:.0f} s", "try again when the machine is idle")
            return
        lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        for line in lines:
            yield Finding(**line)
        if self._child.returncode != 0:
            last = complained.strip().splitlines()[-1:] or [f"it ended with exit code {self._child.returncode}"]
            yield fail(
                "encoder",
                f"torch or open_clip broke: {last[0]}",
                "install the packages again, in the versions that `laion doctor --only packages` names",
            )


def _device_findings() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            found = torch.cuda.get_device_properties(number)
            yield ok("gpu", f"{found.name}, {found.total_memory / 1e9:.0f} GB")
        return
    if torch.backends.mps.is_available():
        yield ok("gpu", "Apple GPU; steps use it where LAION_ENCODER__DEVICE=mps says so")
        return
    if shutil.which("nvidia-smi"):
        yield warn("gpu", "nvidia-smi is there, and torch sees no GPU", "update the driver, or install torch for CUDA")
        return
    text = f"none: {os.cpu_count()} processors encode and train; enough for the sample, slow for a real crawl"
    yield ok("gpu", text)


def _encoder_finding(options: EncoderOptions) -> Finding:
    import io
    import time

    import numpy as np
    from PIL import Image

    from laion_assets.clip.encoder import load_encoder
    from laion_assets.clip.options import EncoderError

    begun = time.monotonic()
    try:
        encoder = load_encoder(options)
    except (EncoderError, OSError, RuntimeError, ValueError) as error:
        return _not_loaded(options, error)
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 30, 30)).save(picture, "PNG")
    vectors = [encoder.encode_images([picture.getvalue()])[0], encoder.encode_texts(["a red square"])[0]]
    lengths = [float(np.linalg.norm(found[0])) for found in vectors]
    if any(abs(length - 1) > 0.01 for length in lengths):
        text = f"{encoder.name} gives vectors of length {lengths[0]:.3f} and {lengths[1]:.3f}, not 1"
        return fail("encoder", text, "its weights are broken: write or fetch them again")
    where = f"{encoder.dimension} dimensions, on {encoder.device}, {encoder.precision}"
    return ok("encoder", f"{encoder.name}: {where}, loaded in {time.monotonic() - begun:.0f} s")


def _not_loaded(options: EncoderOptions, error: Exception) -> Finding:
    text = " ".join(str(error).split())
    if "offline" in text.lower() or "cache" in text.lower() or "connect" in text.lower():
        name = encoder_name(options)
        return Finding(
            "encoder",
            "warn",
            f"the weights of {name} are not here yet",
            "the first build fetches them; it needs the network",
        )
    return fail("encoder", text, "set LAION_ENCODER__MODEL and LAION_ENCODER__PRETRAINED to one that loads")


def _main(described: list[dict[str, Any]]) -> None:
    end_with_parent()
    from laion_assets.clip.options import EncoderOptions

    for finding in _device_findings():
        print(json.dumps(asdict(finding)), flush=True)  # noqa: T201 - this is what the parent reads
    for options in described:
        print(json.dumps(asdict(_encoder_finding(EncoderOptions(**options)))), flush=True)  # noqa: T201


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
