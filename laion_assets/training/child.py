"""The training process: open_clip_train's own program, with our data, our log and a bond to whoever started it.

Started by the driver as ``python -m laion_assets.training.child JOB.json [PROCESSES]``; with a number of processes it
starts so many of itself under torchrun. Not for use by hand.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from laion_assets.common.processes import end_with_parent, with_parent


def main(arguments: list[str]) -> int:
    """Train, or start the processes that do; gives the exit code."""
    end_with_parent()
    job, *processes = arguments
    return _torchrun(int(processes[0]), job) if processes else _train(json.loads(Path(job).read_text()))


def _torchrun(processes: int, job: str) -> int:
    from torch.distributed import run

    os.environ.update(with_parent())
    run.main(["--standalone", f"--nproc-per-node={processes}", "-m", "laion_assets.training.child", job])
    return 0


def _train(job: dict[str, Any]) -> int:
    import torch
    from open_clip_train import main as program

    from laion_assets.clip.open_clip_models import add_model_configs
    from laion_assets.training.loading import data_source
    from laion_assets.training.schedule import Schedule

    if job["threads"]:
        torch.set_num_threads(job["threads"])
    if job["model_configs"]:
        add_model_configs(job["model_configs"])
    if os.environ.get("RANK", "0") == "0":
        logging.root.addHandler(_Lines(Path(job["log"])))
    program.get_data = data_source(Schedule.read(Path(job["schedule"])))
    if not torch.cuda.is_available():
        _distribute_on_cpu()
    # It gives -1 where it refuses to start, and the process would end as if all were well.
    return 1 if program.main(job["arguments"]) == -1 else 0


def _distribute_on_cpu() -> None:
    """open_clip_train names the device of each replica, which torch refuses for a CPU."""
    import torch

    replicated = torch.nn.parallel.DistributedDataParallel

    def on_cpu(module: Any, device_ids: Any = None, **options: Any) -> Any:  # noqa: ARG001
        return replicated(module, **options)

    torch.nn.parallel.DistributedDataParallel = on_cpu  # type: ignore[assignment,misc]


class _Lines(logging.Handler):
    """Each message as a line of JSON with its time: to the driver, and to a file that outlives both."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.INFO)
        self._file = path.open("a", encoding="utf-8")

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        line = json.dumps({"time": record.created, "message": record.getMessage()}) + "\n"
        self._file.write(line)
        self._file.flush()
        sys.stdout.write(line)
        sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
