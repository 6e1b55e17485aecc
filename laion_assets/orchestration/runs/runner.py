"""One task, one Dagster run: how waves of them are run, side by side with other builders."""

import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import dagster as dg

from laion_assets.common.logs import configure_logs, shown_level
from laion_assets.delta.commits import Commit
from laion_assets.delta.lake import Lake
from laion_assets.delta.leftovers import is_being_built
from laion_assets.orchestration.code_location import build_definitions
from laion_assets.orchestration.dagster_internals import ask_executors_to_stop, forget_interrupt
from laion_assets.orchestration.execution import ExecutorError
from laion_assets.orchestration.execution.executors import ensure_reachable
from laion_assets.orchestration.execution.origin import give_runs_an_origin, loadable_job
from laion_assets.orchestration.partitions import Partitions
from laion_assets.orchestration.planning.waves import Task, Wave
from laion_assets.orchestration.registration import register_built
from laion_assets.orchestration.runs.abandoned import BUILDER_TAG, builder_lock, ending_abandoned_runs, other_builders
from laion_assets.orchestration.runs.outcome import Outcome, error_of
from laion_assets.orchestration.runs.reporter import Reporter
from laion_assets.settings import Settings
from laion_assets.tables.limits import need_of
from laion_assets.tables.needs import RetryOptions

_ELSEWHERE: Final = "another build made it"
"""Instead of what went wrong: nothing had to be done here."""
_NOT_TRIED: Final = "what it is built from failed in the same run"


class Runner:
    """Runs partitions of one lake as runs of one Dagster instance, in this process or where the executor sends them."""

    def __init__(
        self, settings: Settings, instance: dg.DagsterInstance, reporter: Reporter, lake: Lake, *, jobs: int = 1
    ) -> None:
        """Nothing runs yet.

        Args:
            settings: of the lake, and the executor.
            instance: keeps the runs.
            reporter: shows how it goes.
            lake: what is built.
            jobs: partitions to build at once; only 1 in this process.
        """
        self._instance = instance
        self._reporter = reporter
        self._lake = lake
        self._lock = ""
        self._stopping = False
        self._jobs = jobs
        self._settings = settings
        # Dagster lets this package's records through to any handler that a library gives the root.
        configure_logs(settings.log_format, settings.log_level)
        # People see bars and a line for each failure; machines read what Dagster says.
        as_json = settings.log_format == "json"
        level = shown_level("json", settings.log_level) if as_json else "CRITICAL"
        self._run_config = {"loggers": {"console": {"config": {"log_level": level}}}}
        self._partitions = Partitions(shards=settings.shards, buckets=settings.buckets)
        self._job = build_definitions(settings).resolve_implicit_global_asset_job_def()
        give_runs_an_origin(instance)

    @contextmanager
    def building(self) -> Iterator[None]:
        """Ends what dead builders left behind; runs inside the block are known as those of a living one.

        Raises:
            ExecutorError: the executor cannot be reached; or the instance would take runs for lost that its launcher
                did not start, or the executor needs one that did.
        """
        watches = self._instance.run_monitoring_enabled and self._instance.run_launcher.supports_check_run_worker_health
        if self._settings.executor == "kubernetes" or watches:
            raise ExecutorError(
                "here runs are started by Dagster's launcher, which looks after them: launch a backfill in the UI, or "
                "name another DAGSTER_HOME and --executor"
            )
        ensure_reachable(self._settings)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: what a shell starts with & ignores it
                signal.signal(number, signal.default_int_handler)
        register_built(self._instance, self._lake)
        others = other_builders(self._lake.staging / "builders")
        if others:
            told = f"another build of this lake is at work ({', '.join(others)}): the work is shared with it"
            self._reporter.notice(told)
        try:
            with (
                builder_lock(self._lake.staging / "builders") as self._lock,
                ending_abandoned_runs(self._instance),
            ):
                yield
        except KeyboardInterrupt:
            self._reporter.notice("stopped: what was finished is kept, and the same command goes on from there")
            raise

    def run(self, wave: Wave, outcome: Outcome) -> None:
        """Build the partitions of a wave; leave out those that lack what they need.

        What another build is at comes last, and is waited for as patiently as a step is tried again.

        Args:
            wave: what is due.
            outcome: is added to.

        Raises:
            KeyboardInterrupt: somebody wants everything to stop. What ran was stopped.
        """
        if wave.total is not None:
            self._reporter.begin(wave.part, wave.total)
        outcome.waiting += wave.waiting
        tasks = [task for task in (self._founded(wave, task, outcome) for task in wave.tasks) if task.assets]
        shared = _Shared(self._lake, wave, tasks)
        held = [task for task in tasks if shared.is_held(task)]
        free = [task for task in tasks if task not in held]
        if self._settings.executor == "in-process":
            for task in free:
                if shared.is_held(task):  # since this one began
                    held.append(task)
                else:
                    self._note(wave, task, self._run(shared, task), outcome)
        else:
            self._run_at_once(shared, free, outcome)
        for task in held:
            shared.wait_for(task, self._settings.retries)
            self._note(wave, task, self._run(shared, task), outcome)

    def _founded(self, wave: Wave, task: Task, outcome: Outcome) -> Task:
        """What is left of a task when nothing that goes into it failed in this build; the rest is noted."""
        kept: list[str] = []
        for asset in task.assets:
            if any(outcome.lacks(*place) for place in wave.needs(asset, task.partition)):
                outcome.left_out.append((asset, task.name))
                self._reporter.advance(wave.part)
            else:
                kept.append(asset)
        return Task(tuple(kept), task.partition)

    def _execute(self, task: Task, tags: Mapping[str, str]) -> dg.ExecuteInProcessResult | dg.JobExecutionResult:
        """One run of a task.

        Raises:
            KeyboardInterrupt: it was interrupted, and stopped.
        """
        keys = [dg.AssetKey(name) for name in task.assets]
        key = self._partitions.key(task.partition) if task.partition else None
        # The next build makes what is missing; a daemon that launched the run again would get in its way.
        tags = {**tags, BUILDER_TAG: self._lock, "dagster/max_retries": "0"}
        with interrupts() as interrupted:
            if self._settings.executor == "in-process":
                result: dg.ExecuteInProcessResult | dg.JobExecutionResult = self._job.execute_in_process(
                    instance=self._instance,
                    asset_selection=keys,
                    partition_key=key,
                    tags=tags,
                    raise_on_error=False,
                    run_config=self._run_config,
                )
            else:
                partition = self._job.get_tags_for_partition_key(key, keys) if key else {}
                result = dg.execute_job(
                    loadable_job(self._job.name),
                    instance=self._instance,
                    asset_selection=keys,
                    tags={**partition, **tags},
                    run_config=self._run_config,
                )
        if interrupted() or (self._stopping and not result.success):
            run = self._instance.get_run_by_id(result.run_id)
            if run is not None and run.status is dg.DagsterRunStatus.FAILURE:  # so Dagster calls a run that was stopped
                self._instance.report_run_canceled(run)
            raise KeyboardInterrupt
        return result

    def _run(self, shared: "_Shared", task: Task) -> Mapping[str, str | None]:
        """One task, unless another build made it meanwhile; gives by asset what went wrong, None where nothing did."""
        if shared.was_built(task):
            return dict.fromkeys(task.assets, _ELSEWHERE)
        result = self._execute(task, shared.wave.tags)
        if result.success:
            return dict.fromkeys(task.assets)
        events = result.all_events
        if len(task.assets) == 1:
            return {task.assets[0]: error_of(events)}
        failed: dict[str | None, str] = {e.step_key: error_of([e]) for e in events if e.is_step_failure}
        built = {e.asset_key.path[-1] for e in events if e.is_step_materialization and e.asset_key is not None}
        others = _NOT_TRIED if failed else error_of(events)
        return {asset: failed.get(asset, None if asset in built else others) for asset in task.assets}

    def _note(self, wave: Wave, task: Task, errors: Mapping[str, str | None], outcome: Outcome) -> None:
        name = "" if not task.partition and wave.part in task.assets else task.name
        for asset, error in errors.items():
            if error is None:
                outcome.built += 1
            elif error is _ELSEWHERE:
                outcome.elsewhere += 1
            elif error is _NOT_TRIED:
                outcome.left_out.append((asset, task.name))
            else:
                outcome.failures.append((asset, name, error))
                self._reporter.failed(asset, name, error)
            self._reporter.advance(wave.part)

    def _run_at_once(self, shared: "_Shared", tasks: Sequence[Task], outcome: Outcome) -> None:
        """Runs whose steps the executor sends to other processes: a thread of this one watches over each."""
        configure_logging_once(self._instance)
        with ThreadPoolExecutor(self._at_once(tasks), thread_name_prefix="run") as pool:
            runs = {pool.submit(self._run, shared, task): task for task in tasks}
            try:
                for run in as_completed(runs):
                    self._note(shared.wave, runs[run], run.result(), outcome)
            except BaseException:
                self._stopping = True
                pool.shutdown(wait=False, cancel_futures=True)
                stop_runs(runs)
                raise

    def _at_once(self, tasks: Sequence[Task]) -> int:
        """How many tasks to begin at once: a run that waits for a place in a pool costs a core."""
        pools = {need_of(asset, self._settings.limits).pool for task in tasks for asset in task.assets}
        limits = {known.name: known.limit for known in self._instance.event_log_storage.get_pool_limits()}
        return max(1, min([self._jobs, *(limits[pool] for pool in pools if pool in limits)]))


@dataclass(frozen=True)
class _Shared:
    """Tasks that another build may be at, too."""

    lake: Lake
    wave: Wave
    tasks: Sequence[Task]
    before: dict[str, Commit | None] = field(init=False)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        found = {task.name: self.lake.commit(self.wave.part, task.partition) for task in self.tasks if self._may(task)}
        object.__setattr__(self, "before", found)

    def _may(self, task: Task) -> bool:
        return self.wave.is_due is not None and bool(task.partition)

    def is_held(self, task: Task) -> bool:
        """Whether another process of this machine builds it now."""
        return self._may(task) and is_being_built(self.lake.staging, self.wave.part, task.name)

    def was_built(self, task: Task) -> bool:
        """Whether somebody else published it since it was found due, and it is not any more."""
        if self.wave.is_due is None or not task.partition:
            return False
        with self.lock:  # runs in threads ask the same ledgers
            if self.lake.commit(self.wave.part, task.partition) == self.before[task.name]:
                return False
            return not self.wave.is_due(task.partition)

    def wait_for(self, task: Task, options: RetryOptions) -> None:
        """Wait until nobody builds it, for as long as a step's tries would take."""
        give_up = time.monotonic() + options.seconds * (2**options.times - 1)
        while self.is_held(task) and time.monotonic() < give_up:
            time.sleep(min(0.5, options.seconds))


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Hear of Ctrl-C and SIGTERM, also of those that Dagster takes for itself: it ends one run and says nothing.

    Gives a function that says whether any came. In a thread other than the main one it hears nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    heard: set[int] = set()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield lambda: bool(heard & {signal.SIGINT, signal.SIGTERM})
    finally:
        signal.set_wakeup_fd(before)
        with suppress(BlockingIOError):
            heard.update(os.read(reading, 4096))
        os.close(reading)
        os.close(writing)


def configure_logging_once(instance: dg.DagsterInstance) -> None:
    """Let runs in threads share the log handlers of ``dagster.yaml``.

    Dagster would configure Python's logging anew for each run, with the lock of all logging, while other threads hold
    those of their handlers and wait for it: all of them for ever.
    """
    handlers = instance.get_yaml_python_handlers()
    setattr(instance, "get_yaml_python_handlers", lambda: handlers)  # noqa: B010 - mypy knows it as a method


def stop_runs(runs: Collection[Future[Any]]) -> None:
    """Let the executors of all runs in threads stop their steps, and wait until they have.

    An executor looks for an interrupt that Dagster's signal handler took, and takes it away from the others: there is
    no handler here, since signals come to the main thread, and several look.
    """
    while not all(run.done() for run in runs):  # `wait` waits for cancelled ones too
        ask_executors_to_stop()
        time.sleep(0.1)
    forget_interrupt()
