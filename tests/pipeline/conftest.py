"""A small sample web, an untrained encoder, one undisturbed build of both crawls, and lakes to start scenarios from.

What is built once (a worker) is shared: scenario tests copy its lake, take a table away, and build that again.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeAlias

import dagster as dg
import polars as pl
import psutil
import pytest
from dagster import AssetKey
from dagster._core.storage.defs_state.base import set_defs_state_storage
from polars.testing import assert_frame_equal

from laion_assets.clip.calibration import CalibrationOptions
from laion_assets.clip.cpu import prepare_cpu
from laion_assets.clip.open_clip_models import add_model_configs
from laion_assets.clip.options import EncoderOptions
from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import Partition
from laion_assets.delta.scope import Scope
from laion_assets.delta.states import State
from laion_assets.delta.verify import Report, verify_lake
from laion_assets.download.options import DownloadOptions
from laion_assets.images.decode import picture_fault
from laion_assets.lake.tars import tar_check
from laion_assets.orchestration.code_location import build_definitions
from laion_assets.orchestration.partitions import CRAWLS as CRAWL_PARTITIONS
from laion_assets.orchestration.partitions import Partitions
from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.planning.parts import PARTITION_STATES
from laion_assets.orchestration.planning.states import current_states
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.orchestration.runs.outcome import Outcome
from laion_assets.pairs.policy import FilterOptions
from laion_assets.sample.encoder import MODEL, MODEL_CONFIGS, write_calibration
from laion_assets.sample.options import CRAWLS, SampleOptions
from laion_assets.sample.publish import publish
from laion_assets.sample.server import SampleServer
from laion_assets.settings import Settings
from laion_assets.tables.catalogue import ALWAYS, STAGES, TABLES
from laion_assets.tables.needs import RetryOptions
from tests.warm import PYTHONPATH, Forked, Pause, run_laion

BUILT = tuple(name for name in STAGES if name in (*ALWAYS, "calibrations"))
"""Every table that a build of crawls writes, in order."""

REPOSITORY = Path(__file__).resolve().parents[2]

EITHER_TIME = {"fetched_at", "registered_at", "calibrated_at"}
PLACES = {"shard_path", "sample_key"}


# -- the web and the encoder ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Web:
    """A published sample whose server runs."""

    root: Path
    options: SampleOptions
    truth: pl.DataFrame


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def small_web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Two crawls of four WAT files each, about 240 good pairs and every kind of dirt but what drips, served."""
    root = tmp_path_factory.mktemp("web") / "sample"
    options = SampleOptions(pairs=240, wat_files=4, port=free_port())
    sample = publish(root, options)
    let_nothing_drip(root)
    refused = pl.when(kind="dripping").then(pl.lit("http_4xx")).otherwise("outcome").alias("outcome")
    with SampleServer(root):
        yield Web(root, options, sample.truth.with_columns(refused))


def let_nothing_drip(root: Path) -> None:
    """Let the server of a published sample refuse what it would send a byte at a time.

    Each download of such an answer waits for the whole deadline, and lakes are downloaded by the hundred here. What
    becomes of it is asked of the demo's lake.
    """
    path = root / "web.json"
    replies = json.loads(path.read_text("utf-8"))
    dripping = {name: {"status": 404} for name, reply in replies.items() if reply.get("drip_seconds")}
    assert dripping, "the sample has answers that drip"
    path.write_text(json.dumps(replies | dripping), "utf-8")


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> EncoderOptions:
    """The sample's model with seeded random weights: it sees nothing, but always the same nothing."""
    return untrained_encoder(tmp_path_factory.mktemp("encoder"))


def untrained_encoder(folder: Path) -> EncoderOptions:
    """The encoder, its weights written into a folder."""
    prepare_cpu()  # before torch is imported
    import open_clip
    import torch
    from safetensors.torch import save_file

    add_model_configs(MODEL_CONFIGS)
    torch.manual_seed(7)
    weights = folder / "untrained.safetensors"
    save_file(open_clip.create_model(MODEL).state_dict(), weights)
    return EncoderOptions(model=MODEL, pretrained=str(weights), model_configs=MODEL_CONFIGS)


@pytest.fixture(autouse=True)
def no_instance_of_another_test() -> Iterator[None]:
    """Dagster keeps the storage of the instance that was entered last, and may be left with one that is gone."""
    with set_defs_state_storage(None):
        yield


@pytest.fixture(scope="session")
def first_crawl(small_web: Web, encoder: EncoderOptions, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A lake of one crawl that keeps what it needs in itself, see ``places``. Not to be written to."""
    from tests.pipeline.places import build_first_crawl

    return build_first_crawl(tmp_path_factory.mktemp("old place"), small_web, encoder)


# -- settings and builders --------------------------------------------------------------------------------------------

MakeSettings = Callable[..., Settings]


@pytest.fixture(scope="session")
def make_settings(
    small_web: Web, encoder: EncoderOptions, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Settings]:
    """Settings for a lake: ``make_settings(folder, **changes)``."""
    calibration = tmp_path_factory.mktemp("calibration") / "pairs.parquet"
    write_calibration(calibration, 120)
    usual = usual_settings(small_web.root, encoder, calibration)

    def make(lake: Path, **changes: Any) -> Settings:
        return Settings(_env_file=None, lake=str(lake), **{**usual, **changes})  # type: ignore[call-arg]

    return make


def usual_settings(source: Path, encoder: EncoderOptions, calibration: Path) -> dict[str, Any]:
    """The settings of the lakes of tests, but for the lake itself."""
    return {
        "source": str(source),
        "shards": 2,
        "buckets": 2,
        "encoder": encoder,
        "calibration": CalibrationOptions(pairs=str(calibration)),
        "filter": FilterOptions(policy="none"),
        "retries": RetryOptions(seconds=0.05),
        # Written as the environment gives them (2.0, not 2): a killed download is found again by these values.
        "download": DownloadOptions(
            allowed_networks=("127.0.0.0/8", "::1/128"),
            timeout_seconds=2.0,
            deadline_seconds=4.0,
            retries=0,
            connections_per_host=64,
            min_image_size=8,
            max_aspect_ratio=20.0,
            urls_per_tar=40,
        ),
    }


def environment(settings: Settings, home: Path) -> dict[str, str]:
    """The settings as a process' environment, and ``home`` as its DAGSTER_HOME."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("LAION_")}
    variables |= {"DAGSTER_HOME": str(home), "COLUMNS": "200"}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if not is_dataclass(value):
            variables |= {} if value is None else {f"LAION_{name.upper()}": _text(value)}
            continue
        for field in fields(value):
            given = getattr(value, field.name)
            if given != field.default:
                variables[f"LAION_{name.upper()}__{field.name.upper()}"] = _text(given)
    return variables


def _text(value: object) -> str:
    if isinstance(value, dict):
        return json.dumps({key: _set(part) if is_dataclass(part) else part for key, part in value.items()})
    return json.dumps(value) if isinstance(value, tuple | bool) else str(value)


def _set(value: Any) -> dict[str, Any]:
    return {field.name: given for field in fields(value) if (given := getattr(value, field.name)) is not None}


class Quiet:
    """A reporter that notes failures."""

    def __init__(self) -> None:
        self.begun: dict[str, int] = {}
        self.failures: list[tuple[str, str, str]] = []

    def begin(self, table: str, total: int) -> None:
        self.begun[table] = total

    def advance(self, table: str) -> None:
        """Nothing to show."""

    def failed(self, table: str, partition: str, error: str) -> None:
        self.failures.append((table, partition, error))

    def notice(self, text: str) -> None:
        """Nobody waits."""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory, of one test."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def builder(instance: dg.DagsterInstance) -> Callable[[Settings], Builder]:
    """A builder over the test's own Dagster instance."""
    return lambda settings: Builder(settings, instance, Quiet())


def materialise(settings: Settings, instance: dg.DagsterInstance, table: str, partition: Partition) -> bool:
    """Run one partition, whether it is due or not; says whether it went well."""
    partitions = Partitions(shards=settings.shards, buckets=settings.buckets)
    keyed = partitions.definition(table) is not None
    if keyed:
        instance.add_dynamic_partitions(str(CRAWL_PARTITIONS.name), [str(partition["crawl"])])
    return (
        build_definitions(settings)
        .resolve_implicit_global_asset_job_def()
        .execute_in_process(
            instance=instance,
            asset_selection=[AssetKey(table)],
            partition_key=partitions.key(partition) if keyed else None,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        .success
    )


class Command(list[str]):
    """The words of a command, and what a process must know that is forked to run it."""

    def __init__(self, words: Sequence[str], arguments: tuple[str, ...], pause: Pause | None = None) -> None:
        super().__init__(words)
        self.arguments = arguments
        self.pause = pause


def laion(*arguments: str) -> Command:
    """The command line ``laion``."""
    return Command([sys.executable, "-c", "from laion_assets.cli import main; main()", *arguments], arguments)


def paused_laion(target: str, when: str, call: int, marker: Path, *arguments: str) -> Command:
    """``laion`` that stops before or after a call of a function; see ``paused_build``."""
    script = str(Path(__file__).with_name("paused_build.py"))
    words = [sys.executable, script, target, when, str(call), str(marker), *arguments]
    return Command(words, arguments, Pause(target, when, call, marker))


def ran(settings: Settings, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``laion`` with these arguments, once it has ended."""
    return run_laion(arguments, environment(settings, home) | {"PYTHONPATH": PYTHONPATH}, Path.cwd())


Process: TypeAlias = "subprocess.Popen[str] | Forked"


@contextmanager
def running(command: list[str], settings: Settings, home: Path) -> Iterator[Process]:
    """A process in a session of its own, gone with its children at the end of the block.

    It is forked, so that it need not import anything; one whose steps are processes in turn is started.
    """
    variables = environment(settings, home) | {"PYTHONPATH": PYTHONPATH}
    process: Process
    here = settings.executor == "in-process"
    if here and isinstance(command, Command) and "--executor" not in command.arguments:
        process = Forked(command.arguments, variables, command.pause)
    else:
        process = subprocess.Popen(
            command,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        kill_9(process)


def wait_until(condition: Callable[[], bool], process: Process, seconds: float = 120) -> None:
    """Look every other millisecond until something holds, while the process lives."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"it ended too early: {process.communicate()[0]}"
        assert time.monotonic() < give_up, "it did not come that far in time"
        time.sleep(0.002)


def kill_9(process: Process, *, children: bool = True) -> None:
    """End a process as the kernel does when memory runs out, with its children or leaving them to themselves."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    process.kill()
    process.wait()
    for child in family if children else ():
        with suppress(psutil.NoSuchProcess):
            child.kill()
    _, left = psutil.wait_procs(family, timeout=10)
    assert not left, f"processes outlived the one that started them: {left}"
    if process.stdout is not None:
        process.stdout.close()


# -- the undisturbed build, and lakes made from it --------------------------------------------------------------------


@dataclass(frozen=True)
class Built:
    """A lake that was built without anything in its way."""

    settings: Settings
    instance: dg.DagsterInstance
    outcome: Outcome

    @property
    def lake(self) -> Lake:
        """The lake, opened afresh."""
        return self.settings.open_lake(create=False)


@pytest.fixture(scope="session")
def undisturbed(make_settings: MakeSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Both crawls in every table, built in their natural order. Not to be written to."""
    settings = make_settings(tmp_path_factory.mktemp("undisturbed") / "lake")
    with dg.DagsterInstance.ephemeral() as own:
        outcome = Builder(settings, own, Quiet()).build(CrawlRequest(crawls=CRAWLS))
        assert outcome.failures == []
        yield Built(settings, own, outcome)


@pytest.fixture
def lake_copy(undisturbed: Built, make_settings: MakeSettings, tmp_path: Path) -> Callable[..., Settings]:
    """A copy of the undisturbed lake: ``lake_copy(without=[table, ...], **settings)`` gives settings that name it.

    A table that is left out was never built there, as far as anybody can see; with ``images`` go its tars.
    """

    def copy(*, without: Sequence[str] = (), **changes: Any) -> Settings:
        source, target = Path(undisturbed.settings.lake), tmp_path / "lake"
        left_out = {str(source / name) for name in without}
        left_out |= {str(source / "files" / name) for name in without}

        def ignore(folder: str, names: list[str]) -> list[str]:
            return [name for name in names if os.path.join(folder, name) in left_out]  # noqa: PTH118

        shutil.copytree(source, target, ignore=ignore)
        return make_settings(target, **changes)

    return copy


# -- looking at lakes -------------------------------------------------------------------------------------------------


def rows(lake: Lake, table: str, *, places: bool = True) -> pl.DataFrame:
    """All rows of a table, sorted by its key, without the columns that say when something happened.

    Args:
        lake: the lake.
        table: the table.
        places: keep the columns that say where a picture's bytes lie; they depend on who fetched it first.
    """
    declared = TABLES[table]
    left_out = EITHER_TIME if places else EITHER_TIME | PLACES
    if not lake.exists(table):
        return pl.DataFrame(schema=[c.name for c in declared.columns if c.name not in left_out])
    frame = lake.scan(table).collect()
    return frame.select(pl.exclude(left_out)).sort([*declared.partition_by, *declared.key])


def assert_same_rows(found: Lake, expected: Lake, tables: Sequence[str] = BUILT, **options: Any) -> None:
    """Every row of these tables is the same in both lakes."""
    places = options.pop("places", True)
    for table in tables:
        assert_frame_equal(rows(found, table, places=places), rows(expected, table, places=places), **options)


def digests(lake: Lake, table: str) -> dict[str, str]:
    """Content digest of every partition, by name."""
    return {name: commit.content_digest for name, commit in lake.ledger(table).commits.items()}


def verified(settings: Settings, *, repair: bool = False) -> Report:
    """What ``laion verify`` finds in a lake, and with ``repair`` does about it."""
    return verify_lake(settings.open_lake(create=False), Scope(), archive=tar_check(picture_fault), repair=repair)


def versions(lake: Lake) -> dict[str, int]:
    """Version of every table but the one that tells how the others stand; -1 where it was never made."""
    return {table: lake.sizes(table)["version"] for table in TABLES if table != PARTITION_STATES}


def unfinished(settings: Settings, crawls: Sequence[str] = CRAWLS) -> dict[str, list[str]]:
    """By table, the partitions that are not done, with the reasons."""
    found: dict[str, list[str]] = {}
    for state in current_states(settings.open_lake(create=False), settings, crawls):
        if state.state is not State.DONE:
            what = f"{state.partition}: {state.state} {state.reasons} {state.inherited}"
            found.setdefault(state.table, []).append(what)
    return found


def stale_tables(settings: Settings, crawls: Sequence[str] = CRAWLS) -> set[str]:
    """The tables with a partition that is not done."""
    return set(unfinished(settings, crawls))


def evaluations(instance: dg.DagsterInstance, table: str, check: str) -> list[tuple[str | None, bool]]:
    """(partition key, passed) of every evaluation of a check that Dagster has heard of."""
    key = dg.AssetCheckKey(AssetKey(table), check)
    found = []
    for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=1_000):
        event = record.event.dagster_event if record.event else None
        if event is not None and event.event_type_value == "ASSET_CHECK_EVALUATION":
            evaluation = event.asset_check_evaluation_data
            found.append((evaluation.partition or event.partition, evaluation.passed))
    return found


def finished_results(lake: Lake) -> list[Path]:
    """The file of rows beside each finished tar of a download that goes on; it comes last."""
    found = (lake.staging / "images").rglob("files/images/**/*.parquet")
    return [path for path in found if not any(part.startswith(".work-") for part in path.parts)]


def tars(lake: Lake) -> Mapping[str, tuple[int, int]]:
    """Every finished tar, published or not, with the file it is and its size; publishing sets its time."""
    found = [rows.with_suffix(".tar") for rows in finished_results(lake)] + list(
        lake.root.glob("files/images/**/*.tar")
    )
    names = {tar: tar.as_posix()[tar.as_posix().index("files/images/") :] for tar in found}
    return {name: (tar.stat().st_ino, tar.stat().st_size) for tar, name in names.items()}
