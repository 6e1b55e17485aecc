"""Drives open_clip_train: starts it, listens to it, judges every checkpoint, and goes on where a killed one stopped.

What it leaves behind in its work folder, and what becomes of it when everything is killed:

- ``attempt-N/``: open_clip_train's own folder of one process. Of a dead attempt the newest whole checkpoint is taken.
- ``state-E.pt`` and ``epoch-E.json``: the training after epoch E, and what is known of that epoch with the sha256 of
  the state. The record is written last: a state without one is taken over with the checkpoints of its dead attempt.
- in the output folder ``epoch-E.safetensors``, and after the last epoch ``open_clip_model.safetensors``: the weights
  that are published.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Final

from laion_assets.clip.cpu import CPU_ENVIRONMENT
from laion_assets.clip.weights import write_weights
from laion_assets.common.digests import file_sha256
from laion_assets.common.files import write_file
from laion_assets.common.processes import end_group, with_parent
from laion_assets.training.checkpoint import (
    CheckpointError,
    TrainingState,
    ensure_model,
    fit_state,
    open_model,
    read_state,
)
from laion_assets.training.compute import ComputeOptions, Placement
from laion_assets.training.errors import TrainingError
from laion_assets.training.log import EpochLog, TrainingLog
from laion_assets.training.recipe import Recipe
from laion_assets.training.schedule import Schedule

_log = logging.getLogger(__name__)

_REPORTS_PER_EPOCH: Final = 50

FINAL_WEIGHTS: Final = "open_clip_model.safetensors"
"""The weights of the last epoch: what open_clip looks for first in a folder, and in a repository of the hub."""


class TrainingFailed(TrainingError):
    """A training came to nothing. The message says what it said last and what to do."""


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One completed epoch."""

    epoch: int
    """Epochs completed, from 1."""
    weights: str
    """Name of the weights file in the output folder."""
    weights_sha256: str
    state_sha256: str
    steps: int
    """Optimiser steps since the beginning."""
    samples_seen: int
    loss: float
    learning_rate: float
    logit_scale: float
    samples_per_second: float
    wall_seconds: float
    finished_at: float
    """Seconds since 1970."""
    resumed_from: int | None
    """The epoch after which the process that trained this one began; None: it began at the beginning."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """One recipe being trained on one machine, in one work folder. Hold the folder's lock while it runs."""

    recipe: Recipe
    schedule: Schedule
    placement: Placement
    compute: ComputeOptions
    work: Path
    """Where the training goes on from."""
    output: Path
    """Where the weights of each epoch are published."""
    say: Callable[[str], None] = _log.info
    resumed: Callable[[str], None] = _log.info
    """Told where it goes on, once, where it does not begin at the beginning."""
    progress: Callable[[int], None] = lambda _: None
    """Called with the number of further samples."""

    def run(self) -> list[EpochRecord]:
        """Train to the end of the recipe, from where the work folder stands.

        Returns:
            One record an epoch, in order.

        Raises:
            TrainingFailed: the process failed, stalled, or its loss or weights stopped being numbers.
            CheckpointError: the model does not exist.
        """
        ensure_model(self.recipe.model, self.recipe.model_configs)
        self.work.mkdir(parents=True, exist_ok=True)
        self._salvage()
        records = self._standing()
        if records:
            self.resumed(f"{self.recipe.name} goes on from epoch {len(records)} of {self.recipe.epochs}")
        self.progress(sum(self._samples_per_epoch for _ in records))
        if len(records) < self.recipe.epochs:
            self._attempt(records[-1] if records else None)
            records = self._standing()
        if len(records) != self.recipe.epochs:
            raise TrainingFailed(
                f"open_clip_train ended well after {len(records)} of {self.recipe.epochs} epochs; see {self.work}"
            )
        return records

    @property
    def _samples_per_epoch(self) -> int:
        return self.recipe.samples_seen // self.recipe.epochs

    # -- where it stands -----------------------------------------------------------------------------------------

    def _standing(self) -> list[EpochRecord]:
        """The epochs behind us: those up to the newest state that is there, whole. Later ones are forgotten."""
        records = self._recorded()
        while records and not self._is_whole(records[-1]):
            self.say(f"the state after epoch {records[-1].epoch} is missing or broken: going back by one")
            records.pop()
        for epoch in range(len(records) + 1, self.recipe.epochs + 1):
            self._record_path(epoch).unlink(missing_ok=True)
            self._state_path(epoch).unlink(missing_ok=True)
        return records

    def _has(self, epoch: int) -> bool:
        path = self._record_path(epoch)
        return path.is_file() and self._is_whole(EpochRecord(**json.loads(path.read_text())))

    def _is_whole(self, record: EpochRecord) -> bool:
        state = self._state_path(record.epoch)
        return state.is_file() and file_sha256(state) == record.state_sha256

    def _recorded(self) -> list[EpochRecord]:
        """The epochs from the first on whose records and weights are there."""
        records: list[EpochRecord] = []
        for epoch in range(1, self.recipe.epochs + 1):
            path = self._record_path(epoch)
            if not path.is_file():
                break
            record = EpochRecord(**json.loads(path.read_text()))
            weights = self.output / record.weights
            if not weights.is_file() or file_sha256(weights) != record.weights_sha256:
                break
            records.append(record)
        return records

    def _salvage(self) -> None:
        """Take over what a killed driver did not live to: the whole checkpoints of each dead attempt."""
        for attempt in sorted(self.work.glob("attempt-*"), key=lambda path: int(path.name.split("-")[1])):
            # Killed between a state and its record, the driver leaves a checkpoint that has already changed its name.
            found = [*self.work.glob("state-*.pt"), *self._checkpoints(attempt).glob("epoch_*.pt")]
            log = TrainingLog()
            if (attempt / "log.jsonl").is_file():
                log.read((attempt / "log.jsonl").read_text(errors="replace").splitlines())
            states = []
            for path in found:
                try:
                    states.append((read_state(path), path))
                except CheckpointError as error:
                    self.say(f"left aside: {error}")
            for state, path in sorted(states, key=lambda item: item[0].epoch):
                if not self._has(state.epoch) and (state.epoch - 1) in log.epochs:
                    self._adopt(state, path, log.epochs[state.epoch - 1], min(log.epochs) or None)
            shutil.rmtree(attempt, ignore_errors=True)

    def _adopt(self, state: TrainingState, path: Path, log: EpochLog, resumed_from: int | None) -> None:
        """Make an epoch count: its weights, its state, then its record."""
        expected = state.epoch * self.recipe.steps_per_epoch
        if state.steps != expected and self.recipe.precision != "amp":  # fp16 scaling leaves out steps that overflow
            raise TrainingFailed(f"{path}: expected {expected:,} optimiser steps, found {state.steps:,}")
        last = state.epoch == self.recipe.epochs
        weights = self.output / (FINAL_WEIGHTS if last else f"epoch-{state.epoch}.safetensors")
        write_weights(state.weights, weights)
        open_model(self.recipe.model, weights, self.recipe.model_configs)
        kept = self._state_path(state.epoch)
        path.replace(kept)
        record = EpochRecord(
            epoch=state.epoch,
            weights=weights.name,
            weights_sha256=file_sha256(weights),
            state_sha256=file_sha256(kept),
            steps=state.steps,
            samples_seen=state.epoch * self._samples_per_epoch,
            loss=log.loss,
            learning_rate=log.learning_rate,
            logit_scale=log.logit_scale,
            samples_per_second=self._samples_per_epoch / max(log.seconds, 1e-3),
            wall_seconds=log.seconds,
            finished_at=log.ended,
            resumed_from=resumed_from,
        )
        write_file(self._record_path(state.epoch), json.dumps(asdict(record)), durable=True)
        for older in self.work.glob("state-*.pt"):
            if int(older.stem.split("-")[1]) < state.epoch - 1:  # one more than is needed, should the last one break
                older.unlink()
        self.say(
            f"epoch {state.epoch} of {self.recipe.epochs}: loss {log.loss:.4f}, {record.samples_per_second:,.0f}/s"
        )

    def _record_path(self, epoch: int) -> Path:
        return self.work / f"epoch-{epoch}.json"

    def _state_path(self, epoch: int) -> Path:
        return self.work / f"state-{epoch}.pt"

    @staticmethod
    def _checkpoints(attempt: Path) -> Path:
        return attempt / "run" / "checkpoints"

    # -- one process ---------------------------------------------------------------------------------------------

    def _attempt(self, last: EpochRecord | None) -> None:
        attempt = self.work / "attempt-0"
        attempt.mkdir()
        self.schedule.write(attempt / "schedule.json")
        resume = ["--resume", str(self._resumable(last, attempt))] if last else []
        job = {
            "arguments": [*_arguments(self.recipe, self.placement, attempt), *resume],
            "schedule": str(attempt / "schedule.json"),
            "log": str(attempt / "log.jsonl"),
            "threads": self.placement.threads,
            "model_configs": self.recipe.model_configs,
        }
        (attempt / "job.json").write_text(json.dumps(job))
        where = f"from epoch {last.epoch}" if last else "from the beginning"
        self.say(f"training {self.recipe.name} {where} on {self.placement.processes} x {self.placement.device}")
        log = TrainingLog()
        with self._process(attempt) as lines:
            for line in lines:
                self._listen(line, log, attempt, last)
        for epoch in range((last.epoch if last else 0) + 1, self.recipe.epochs + 1):
            self._take_epoch(epoch, log, attempt, last)
        shutil.rmtree(attempt, ignore_errors=True)

    def _resumable(self, last: EpochRecord, attempt: Path) -> Path:
        """The state to go on from; where it was saved by another number of processes, named as these expect it."""
        state = self._state_path(last.epoch)
        return fit_state(state, attempt / "resume.pt", replicated=self.placement.processes > 1)

    def _listen(self, line: str, log: TrainingLog, attempt: Path, last: EpochRecord | None) -> None:
        before, current = {number: epoch.samples for number, epoch in log.epochs.items()}, log.current
        said = log.take(line)
        if said is not None:
            number = max(log.epochs)
            self.say(
                f"epoch {number + 1}/{self.recipe.epochs}, loss {said.last_loss:.3f}, learning rate "
                f"{said.learning_rate:.1e}, {said.samples / max(said.ended - said.started, 1e-3):,.0f} samples/s"
            )
            self.progress(said.samples - before.get(number, 0))
            if not said.finite:
                raise TrainingFailed(
                    f"the loss of {self.recipe.name} became {said.last_loss} in epoch {number + 1}: lower "
                    "learning_rate, lengthen warmup_steps or use another precision; the epochs before are kept"
                )
        if "Handling webdataset error" in line:
            raise TrainingFailed(f"open_clip_train would go on over a fault in the data: {line.strip()[:500]}")
        if log.current != current and log.current is not None and log.current > (last.epoch if last else 0):
            self._take_epoch(log.current, log, attempt, last)

    def _take_epoch(self, epoch: int, log: TrainingLog, attempt: Path, last: EpochRecord | None) -> None:
        if self._record_path(epoch).is_file():
            return
        path = self._checkpoints(attempt) / f"epoch_{epoch}.pt"
        try:
            state = read_state(path)
        except CheckpointError as error:
            raise TrainingFailed(f"epoch {epoch} of {self.recipe.name}: {error}") from error
        if state.epoch != epoch or epoch - 1 not in log.epochs:
            raise TrainingFailed(f"{path}: expected epoch {epoch}, found {state.epoch}")
        self._adopt(state, path, log.epochs[epoch - 1], last.epoch if last else None)

    @contextmanager
    def _process(self, attempt: Path) -> Iterator[Iterator[str]]:
        """The training process, as the lines it says. Gone at the end of the block, whatever happens in it."""
        several = [str(self.placement.processes)] if self.placement.processes > 1 else []
        command = [sys.executable, "-m", "laion_assets.training.child", str(attempt / "job.json"), *several]
        environment = {**os.environ, **with_parent(), "NO_ALBUMENTATIONS_UPDATE": "1"}
        if self.placement.device == "cpu":
            environment |= {**CPU_ENVIRONMENT, "CUDA_VISIBLE_DEVICES": ""}
        errors = attempt / "errors.txt"
        with errors.open("w") as complaints:
            process = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=complaints, text=True, start_new_session=True
            )
        try:
            yield _lines(process, self.compute.stall_seconds)
        finally:
            if process.poll() is None:
                end_group(process, grace_seconds=10)
            if process.stdout is not None:
                process.stdout.close()
        if process.returncode != 0:
            said = errors.read_text(errors="replace").strip().splitlines()
            raise TrainingFailed(
                f"open_clip_train ended with {process.returncode}: {_last_words(said)}; run it again to go on from the "
                "last whole epoch"
            )


def _arguments(recipe: Recipe, placement: Placement, attempt: Path) -> list[str]:
    steps = recipe.steps_per_epoch
    values: dict[str, Any] = {
        "--train-data": attempt / "schedule.json",
        "--dataset-type": "webdataset",
        "--logs": attempt,
        "--name": "run",
        "--model": recipe.model,
        "--batch-size": placement.batch_size,
        "--accum-freq": placement.accumulation,
        "--workers": placement.workers,
        "--epochs": recipe.epochs,
        "--lr": recipe.learning_rate,
        "--warmup": recipe.warmup_steps,
        "--lr-scheduler": recipe.schedule,
        "--wd": recipe.weight_decay,
        "--beta1": recipe.beta1,
        "--beta2": recipe.beta2,
        "--eps": recipe.epsilon,
        "--precision": recipe.precision,
        "--seed": recipe.seed,
        "--device": placement.device,
        "--save-frequency": 1,
        "--log-every-n-steps": max(1, steps // _REPORTS_PER_EPOCH),
    }
    if recipe.gradient_clip_norm is not None:
        values["--grad-clip-norm"] = recipe.gradient_clip_norm
    flags = ["--save-most-recent"]
    if recipe.gradient_checkpointing:
        flags.append("--grad-checkpointing")
    if placement.processes > 1:
        flags += ["--local-loss", "--gather-with-grad"]
    given = [part for name, value in values.items() for part in (name, str(value))]
    return [*given, *flags, "--aug-cfg", *recipe.augmentation.arguments()]


def _lines(process: subprocess.Popen[str], stall_seconds: float) -> Iterator[str]:
    """Lines of the process until it ends; raises where it is silent for too long."""
    queue: Queue[str | None] = Queue()

    def pump() -> None:
        for line in process.stdout or ():
            queue.put(line)
        queue.put(None)

    threading.Thread(target=pump, daemon=True).start()
    while True:
        try:
            line = queue.get(timeout=stall_seconds)
        except Empty as error:
            raise TrainingFailed(f"the training said nothing for {stall_seconds:.0f} s and was ended") from error
        if line is None:
            process.wait()
            return
        yield line


def _last_words(said: list[str]) -> str:
    telling = [line.strip() for line in said if line.strip() and not line.startswith((" ", "\t", "W", "I"))]
    return " ".join((telling or said or ["silent"])[-2:])[-1_000:]
