"""One partition, one Dagster run: how the builders run them, what they report, what came of it."""

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import dagster as dg

from laion_assets.cli.common import UsageError, err
from laion_assets.common.logs import shown_level
from laion_assets.definitions import build_definitions
from laion_assets.delta.commits import Commit
from laion_assets.delta.lake import Lake
from laion_assets.delta.leftovers import is_being_built
from laion_assets.delta.partition import Partition, partition_name
from laion_assets.orchestration.dagster_internals import ask_executors_to_stop, forget_interrupt
from laion_assets.orchestration.execution.executors import ensure_reachable
from laion_assets.orchestration.execution.origin import give_runs_an_origin, loadable_job
from laion_assets.orchestration.partitions import Partitions
from laion_assets.orchestration.runs.abandoned import BUILDER_TAG, builder_lock, ending_abandoned_runs, other_builders
from laion_assets.orchestration.runs.registration import register_built
from laion_assets.settings import Settings
from laion_assets.tables.catalogue import TABLES
from laion_assets.tables.limits import need_of
from laion_assets.tables.needs import RetryOptions
from laion_assets.tables.stages import partitions_read


class Reporter(Protocol):
    """Whoever shows how a build goes."""

    def begin(self, table: str, total: int) -> None:
        """A stage with ``total`` partitions to build begins."""

    def advance(self, table: str) -> None:
        """One of them is behind us, built or not."""

    def failed(self, table: str, partition: str, error: str) -> None:
        """One of them could not be built."""


@dataclass
class Outcome:
    """What a build did."""

    built: int = 0
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    """(table, partition, error) of every partition that could not be built."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """(table, partition) of every partition that was not tried, for one that it is built from could not be built."""
    elsewhere: int = 0
    """Partitions that another build made meanwhile."""

    def lacks(self, table: str, partition: str) -> bool:
        """Whether this partition should have been built, and was not."""
        return (table, partition) in [*self.left_out, *(failure[:2] for failure in self.failures)]


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
        self._jobs = jobs
        self._settings = settings
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
            UsageError: the instance would take runs for lost that its launcher did not start, or the executor needs one
                that did.
            ExecutorError: the executor cannot be reached.
        """
        watches = self._instance.run_monitoring_enabled and self._instance.run_launcher.supports_check_run_worker_health
        if self._settings.executor == "kubernetes" or watches:
            raise UsageError(
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
            err.print(told, soft_wrap=True, highlight=False)
        try:
            with (
                builder_lock(self._lake.staging / "builders") as self._lock,
                ending_abandoned_runs(self._instance),
            ):
                yield
        except KeyboardInterrupt:
            told = "stopped: what was finished is kept, and the same command goes on from there"
            err.print(told, soft_wrap=True, highlight=False)
            raise

    def run_each(
        self,
        table: str,
        partitions: Sequence[Partition],
        outcome: Outcome,
        tags: Mapping[str, str] | None = None,
        *,
        is_due: Callable[[Partition], bool] = lambda _: True,
    ) -> None:
        """Build partitions of a table, or a table that Dagster sees whole; leave out those that lack what they need.

        What another build is at comes last, and is waited for as patiently as a step is tried again.

        Args:
            table: the table.
            partitions: those that are due.
            outcome: is added to.
            tags: of the runs.
            is_due: whether a partition still is, asked where somebody else published it meanwhile.

        Raises:
            KeyboardInterrupt: somebody wants everything to stop. What ran was stopped.
        """
        due = []
        for partition in partitions:
            if self.founded(table, partition, outcome):
                due.append(partition)
            else:
                self._reporter.advance(table)
        shared = _Shared(self._lake, table, due, is_due)
        held = [partition for partition in due if shared.is_held(partition)]
        due = [partition for partition in due if partition not in held]
        if self._settings.executor == "in-process":
            for partition in due:
                if shared.is_held(partition):  # since this one began
                    held.append(partition)
                else:
                    self._note(table, partition, self._run(shared, partition, tags or {}), outcome)
        else:
            self._run_at_once(shared, due, outcome, tags or {})
        for partition in held:
            shared.wait_for(partition, self._settings.retries)
            self._note(table, partition, self._run(shared, partition, tags or {}), outcome)

    def execute(
        self, names: Sequence[str], key: str | None, tags: Mapping[str, str]
    ) -> dg.ExecuteInProcessResult | dg.JobExecutionResult:
        """One run of some assets.

        Args:
            names: of the assets.
            key: Dagster's of their partition, None where they have none.
            tags: of the run.

        Raises:
            KeyboardInterrupt: it was interrupted, and stopped.
        """
        keys = [dg.AssetKey(name) for name in names]
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
        if interrupted():
            raise KeyboardInterrupt
        return result

    def _run(self, shared: "_Shared", partition: Partition, tags: Mapping[str, str]) -> str | None:
        """One partition of one table, unless another build made it meanwhile; gives what went wrong."""
        if shared.was_built(partition):
            return _ELSEWHERE
        result = self.execute([shared.table], self._partitions.key(partition) if partition else None, tags)
        return None if result.success else error_of(result.all_events)

    def _note(self, table: str, partition: Partition, error: str | None, outcome: Outcome) -> None:
        if error is None:
            outcome.built += 1
        elif error is _ELSEWHERE:
            outcome.elsewhere += 1
        else:
            name = partition_name(partition) if partition else ""
            outcome.failures.append((table, name, error))
            self._reporter.failed(table, name, error)
        self._reporter.advance(table)

    def _run_at_once(
        self, shared: "_Shared", partitions: Sequence[Partition], outcome: Outcome, tags: Mapping[str, str]
    ) -> None:
        """Runs whose steps the executor sends to other processes: a thread of this one watches over each."""
        configure_logging_once(self._instance)
        with ThreadPoolExecutor(self._at_once(shared.table), thread_name_prefix="run") as pool:
            runs = {pool.submit(self._run, shared, partition, tags): partition for partition in partitions}
            try:
                for run in as_completed(runs):
                    self._note(shared.table, runs[run], run.result(), outcome)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                stop_runs(runs)
                raise

    def _at_once(self, table: str) -> int:
        """How many partitions of a table to begin at once: a run that waits for a place in a pool costs a core."""
        pool = need_of(table, self._settings.limits).pool
        limits = {known.name: known.limit for known in self._instance.event_log_storage.get_pool_limits()}
        return max(1, min(self._jobs, limits.get(pool, self._jobs) if pool else self._jobs))

    def founded(self, table: str, partition: Partition, outcome: Outcome) -> bool:
        """Whether nothing that goes into the partition failed in this build; noted as left out otherwise."""
        lacking = any(
            outcome.lacks(read.table, partition_name(upstream))
            for read in TABLES[table].reads
            for upstream in partitions_read(self._lake, read, partition)
        )
        if lacking:
            outcome.left_out.append((table, partition_name(partition)))
        return not lacking


_ELSEWHERE = "another build made it"
"""Instead of what went wrong: nothing had to be done here."""


@dataclass(frozen=True)
class _Shared:
    """Partitions of a table that another build may be at, too."""

    lake: Lake
    table: str
    partitions: Sequence[Partition]
    is_due: Callable[[Partition], bool]
    before: dict[str, Commit | None] = field(init=False)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        found = {partition_name(p): self.lake.commit(self.table, p) for p in self.partitions if p}
        object.__setattr__(self, "before", found)

    def is_held(self, partition: Partition) -> bool:
        """Whether another process of this machine builds it now."""
        return bool(partition) and is_being_built(self.lake.staging, self.table, partition_name(partition))

    def was_built(self, partition: Partition) -> bool:
        """Whether somebody else published it since it was found due, and it is not any more."""
        if not partition:
            return False
        with self.lock:  # runs in threads ask the same ledgers
            if self.lake.commit(self.table, partition) == self.before[partition_name(partition)]:
                return False
            return not self.is_due(partition)

    def wait_for(self, partition: Partition, options: RetryOptions) -> None:
        """Wait until nobody builds it, for as long as a step's tries would take."""
        give_up = time.monotonic() + options.seconds * (2**options.times - 1)
        while self.is_held(partition) and time.monotonic() < give_up:
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


def error_of(events: Iterable[dg.DagsterEvent]) -> str:
    """What the first failed step among the events says."""
    for event in events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                return data.user_failure_data.description
            error = data.error.cause or data.error if data.error is not None else None
            if error is None:
                return "the step failed"
            # What a step of ours raises explains itself; of others the kind of error is part of what they say.
            return re.sub(r"^laion_assets(\.\w+)*: ", "", error.message.strip())
        if event.is_job_failure and event.job_failure_data.error is not None:  # no step began
            return event.job_failure_data.error.message.strip()
    return "the run failed before its step began"
