"""What a lake may forget, and what it must not."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from laion_assets.delta.build import lake_build
from laion_assets.delta.errors import LakeError
from laion_assets.delta.history import LakeHistory, lost
from laion_assets.delta.lake import Lake
from laion_assets.delta.pins import Pin
from laion_assets.delta.retention import RetentionOptions, plan_retention
from laion_assets.delta.staging import StagingFolder
from laion_assets.delta.sweep import sweep
from tests.unit.delta.aging import backdate, backdate_all, collect, days_ago, freed, put, readable, rows_at
from tests.unit.delta.conftest import PROVENANCE
from tests.unit.delta.tables_made import made

BUCKET = "crawl=CC-2024-10/bucket=0"
WORK, OTHER_WORK, THIRD_WORK = ("0" * 31 + n for n in "123")


def pairs(lake: Lake, *ids: int) -> int:
    return made(lake, "unique_pairs", BUCKET, [{"pair_id": i, "url": f"http://a/{i}"} for i in ids]).version


def training_set(lake: Lake, recipe: str, work: str, reads: tuple[str, ...] = ("unique_pairs",)) -> int:
    tar = put(lake, f"files/training_sets/{recipe}/{work}/train/00000.tar")
    put(lake, f"files/training_sets/{recipe}/{work}/sizes.json")
    row = {"split": "train", "shard_path": tar, "source_versions": []}
    return made(lake, "training_sets", f"recipe={recipe}", [row], reads={t: [BUCKET] for t in reads}).version


def checkpoint(lake: Lake, recipe: str, work: str) -> int:
    weights = put(lake, f"files/checkpoints/{recipe}/{work}/epoch-1.safetensors")
    put(lake, f"files/checkpoints/{recipe}/{work}/README.md")
    row = {"epoch": 1, "path": weights, "source_versions": []}
    partition = f"recipe={recipe}"
    return made(lake, "clip_checkpoints", partition, [row], reads={"training_sets": [partition]}).version


def images(lake: Lake, *tars: str, partition: str = BUCKET) -> int:
    rows = [{"url": f"http://a/{n}", "status": "success", "shard_path": tar} for n, tar in enumerate(tars)]
    return made(lake, "images", partition, rows).version


def tar_of(lake: Lake, work: str, number: int = 0) -> str:
    put(lake, f"files/images/{BUCKET}/{work}/{number:05}.parquet")
    return put(lake, f"files/images/{BUCKET}/{work}/{number:05}.tar")


def there(lake: Lake, name: str) -> bool:
    return (lake.root / name).exists()


# -- versions of tables -----------------------------------------------------------------------------------------------


def test_a_replaced_version_goes_and_the_one_a_training_set_was_made_from_stays(lake: Lake) -> None:
    first = pairs(lake, 1)
    training_set(lake, "some", WORK)
    second, third = pairs(lake, 1, 2), pairs(lake, 3)
    backdate_all(lake, 100)
    plan, _ = collect(lake)
    assert rows_at(lake, "unique_pairs", first)["pair_id"].to_list() == [1]
    assert not readable(lake, "unique_pairs", second)
    assert rows_at(lake, "unique_pairs", third)["pair_id"].to_list() == [3]
    assert plan.pins == (Pin("unique_pairs", first, "training_sets recipe=some"),)
    assert freed(plan) == {"unique_pairs": 1}


def test_what_was_vacuumed_is_still_told_of_by_the_log(lake: Lake) -> None:
    first = pairs(lake, 1)
    pairs(lake, 2)
    backdate_all(lake, 100)
    collect(lake)
    known = LakeHistory(lake)
    commit = known.of("unique_pairs").commit_at(BUCKET, first)
    assert commit is not None
    assert commit.rows == 1
    assert len(lost(lake, known.snapshot("unique_pairs", first).files)) == 1


def test_a_version_written_long_ago_stays_as_long_as_it_was_replaced_lately(lake: Lake) -> None:
    first, second = pairs(lake, 1), pairs(lake, 2)
    backdate_all(lake, 100)
    backdate(lake, "unique_pairs", second, 10)
    plan, _ = collect(lake, days=30)
    assert freed(plan) == {}
    assert readable(lake, "unique_pairs", first)
    collect(lake, days=8)
    assert not readable(lake, "unique_pairs", first)
    assert readable(lake, "unique_pairs", second)


def test_a_version_between_two_recent_ones_stays(lake: Lake) -> None:
    versions = [pairs(lake, n) for n in range(4)]
    backdate_all(lake, 100)
    for version, days in zip(versions[1:], (29, 20, 10), strict=True):
        backdate(lake, "unique_pairs", version, days)
    collect(lake, days=30)
    assert all(readable(lake, "unique_pairs", version) for version in versions)


def test_what_no_commit_published_goes_when_it_is_old(lake: Lake) -> None:
    pairs(lake, 1)
    folder = f"unique_pairs/{BUCKET}"
    young, old = put(lake, f"{folder}/part-1.parquet", days=20), put(lake, f"{folder}/part-2.parquet", days=50)
    temporary = put(lake, "unique_pairs/_tmp/part-3.parquet", days=50)
    collect(lake)
    assert [there(lake, name) for name in (young, old, temporary)] == [True, False, True]


def test_the_log_stays_whole(lake: Lake) -> None:
    for n in range(5):
        pairs(lake, n)
    backdate_all(lake, 100)
    before = sorted((lake.root / "unique_pairs/_delta_log").iterdir())
    collect(lake)
    assert sorted((lake.root / "unique_pairs/_delta_log").iterdir()) == before


def test_a_table_of_somebody_else_is_left_alone(lake: Lake) -> None:
    for n in range(2):
        write_deltalake(lake.path("notes"), pa.table({"n": [n]}), mode="overwrite")
    backdate_all(lake, 100)
    plan, _ = collect(lake)
    assert readable(lake, "notes", 0)
    assert [area.note for area in plan.areas if area.name == "notes"] == ["not written by laion: left alone"]


def test_a_data_file_that_cannot_be_read_stops_everything(lake: Lake) -> None:
    tar = tar_of(lake, WORK)
    version = images(lake, tar)
    for path in lake.table("images", version).file_uris():
        Path(path).write_bytes(b"broken")
    backdate_all(lake, 100)
    with pytest.raises(LakeError, match="what it names is not known, so nothing is removed"):
        plan_retention(lake)
    assert there(lake, tar)


# -- pins -------------------------------------------------------------------------------------------------------------


def test_a_checkpoint_keeps_the_set_it_learned_from_and_what_that_was_made_from(lake: Lake) -> None:
    first = pairs(lake, 1)
    learned = training_set(lake, "some", WORK)
    checkpoint(lake, "some", WORK)
    pairs(lake, 2)
    training_set(lake, "some", OTHER_WORK)
    pairs(lake, 3)
    backdate_all(lake, 100)
    collect(lake)
    assert readable(lake, "training_sets", learned)
    assert readable(lake, "unique_pairs", first)
    assert there(lake, f"files/training_sets/some/{WORK}/train/00000.tar")


def test_a_checkpoint_keeps_no_set_of_another_recipe(lake: Lake) -> None:
    pairs(lake, 1)
    training_set(lake, "other", WORK)
    training_set(lake, "some", OTHER_WORK)
    checkpoint(lake, "some", OTHER_WORK)
    training_set(lake, "other", THIRD_WORK)
    backdate_all(lake, 100)
    collect(lake)
    assert not there(lake, f"files/training_sets/other/{WORK}/sizes.json")
    assert there(lake, f"files/training_sets/some/{OTHER_WORK}/sizes.json")


def test_what_a_set_pinned_goes_with_the_set(lake: Lake) -> None:
    first = pairs(lake, 1)
    training_set(lake, "some", WORK)
    pairs(lake, 2)
    last = training_set(lake, "some", OTHER_WORK)
    backdate_all(lake, 100)
    backdate(lake, "training_sets", last, 10)
    collect(lake)
    assert readable(lake, "unique_pairs", first)  # the set before it can be read for another twenty days
    backdate_all(lake, 100)
    collect(lake)
    assert not readable(lake, "unique_pairs", first)


def test_a_recipe_that_is_let_go_keeps_its_shards_and_not_its_sources(lake: Lake) -> None:
    first = pairs(lake, 1)
    training_set(lake, "some", WORK)
    pairs(lake, 2)
    backdate_all(lake, 100)
    plan, _ = collect(lake, let_go=["recipe=some"])
    assert plan.pins == ()
    assert not readable(lake, "unique_pairs", first)
    assert there(lake, f"files/training_sets/some/{WORK}/train/00000.tar")


def test_a_version_that_somebody_asks_for_stays(lake: Lake) -> None:
    first, second = pairs(lake, 1), pairs(lake, 2)
    pairs(lake, 3)
    backdate_all(lake, 100)
    collect(lake, more_pins=[Pin("unique_pairs", second, "a recipe"), Pin("never_built", 3, "a recipe")])
    assert [readable(lake, "unique_pairs", version) for version in (first, second)] == [False, True]


# -- files beside the tables ------------------------------------------------------------------------------------------


def test_a_tar_goes_when_no_row_names_it_any_more(lake: Lake) -> None:
    kept, dropped = tar_of(lake, WORK, 0), tar_of(lake, WORK, 1)
    images(lake, kept, dropped)
    fresh = tar_of(lake, OTHER_WORK)
    images(lake, kept, fresh)
    backdate_all(lake, 100)
    plan, swept = collect(lake)
    assert [there(lake, tar) for tar in (kept, dropped, fresh)] == [True, False, True]
    assert there(lake, kept.replace(".tar", ".parquet"))
    assert not there(lake, dropped.replace(".tar", ".parquet"))
    assert freed(plan) == {"images": 1, "files/images": 2}
    assert dict(swept.files) == freed(plan)


def test_tars_of_a_pinned_version_stay(lake: Lake) -> None:
    tar = tar_of(lake, WORK)
    images(lake, tar)
    training_set(lake, "some", WORK, reads=("images",))
    images(lake)
    backdate_all(lake, 100)
    plan, _ = collect(lake)
    assert there(lake, tar)
    assert {a.name: a.pinned for a in plan.areas}["files/images"] == 10  # the tar and its result file
    collect(lake, let_go=["recipe=some"])
    assert not there(lake, tar)


def test_tars_named_by_a_row_of_another_crawl_stay(lake: Lake) -> None:
    tar = tar_of(lake, WORK)
    images(lake, tar)
    images(lake, tar, partition="crawl=CC-2024-20/bucket=0")
    images(lake)
    backdate_all(lake, 100)
    collect(lake)
    assert there(lake, tar)


def test_tars_named_by_a_table_of_a_model_stay(lake: Lake) -> None:
    tar = tar_of(lake, WORK)
    write_deltalake(lake.path("chosen"), pa.table({"shard_path": [tar]}))
    backdate_all(lake, 100)
    collect(lake)
    assert there(lake, tar)


def test_files_that_somebody_put_there_stay(lake: Lake) -> None:
    names = [put(lake, f"files/{name}", days=500) for name in ("encoders/a.safetensors", "benchmarks/b/0.tar")]
    plan, _ = collect(lake)
    assert all(there(lake, name) for name in names)
    assert freed(plan) == {}


def test_a_training_that_is_younger_than_the_retention_can_go_on(lake: Lake) -> None:
    started = put(lake, f"files/checkpoints/some/{WORK}/epoch-1.safetensors", days=60)
    put(lake, f"files/checkpoints/some/{WORK}/epoch-2.safetensors", days=20)
    given_up = put(lake, f"files/checkpoints/some/{OTHER_WORK}/epoch-1.safetensors", days=60)
    states = lake.staging / "clip_checkpoints" / "recipe=some"
    for work, days in ((WORK, 20), (OTHER_WORK, 60)):
        state = put(lake, str((states / work / "training" / "state-1.pt").relative_to(lake.root)), days)
        for folder in ((lake.root / state).parent, states / work):
            os.utime(folder, (days_ago(days).timestamp(),) * 2)
    plan, _ = collect(lake)
    assert freed(plan) == {"files/checkpoints": 1, "unfinished work": 1}
    assert there(lake, started)
    assert not there(lake, given_up)
    assert [folder.name for folder in states.iterdir()] == [WORK]


# -- running steps ----------------------------------------------------------------------------------------------------


def test_nothing_goes_that_a_running_step_may_read(lake: Lake) -> None:
    first, second = pairs(lake, 1), pairs(lake, 2)
    backdate_all(lake, 100)
    backdate(lake, "unique_pairs", second, 40)
    collect(lake, running_since=days_ago(20))
    assert readable(lake, "unique_pairs", first)
    collect(lake, running_since=days_ago(5))
    assert not readable(lake, "unique_pairs", first)


def test_a_step_of_this_machine_counts_as_running_and_its_staging_stays(lake: Lake) -> None:
    dead = lake.staging / "unique_pairs" / "some" / f"{_dead_process()}-abc"
    dead.mkdir(parents=True)
    with lake_build(lake, "wat_files", {"crawl": "CC-2024-10"}, PROVENANCE) as build:
        backdate_all(lake, 100)
        for folder in (dead, build.folder.path):
            os.utime(folder, (days_ago(100).timestamp(),) * 2)
        plan, _ = collect(lake)
        assert plan.running_since is not None
        assert plan.running_since > days_ago(1)
        assert build.folder.path.exists()
    assert not dead.exists()
    assert plan_retention(lake).running_since is None


def _dead_process() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_old_work_that_a_step_takes_up_after_the_plan_stays(lake: Lake) -> None:
    found, forgotten = tar_of(lake, WORK), tar_of(lake, OTHER_WORK)
    images(lake)
    backdate_all(lake, 100)
    plan = plan_retention(lake)
    assert freed(plan)["files/images"] == 4
    images(lake, found)
    swept = sweep(lake, plan)
    assert there(lake, found)
    assert not there(lake, forgotten)
    assert swept.files["files/images"] == 2


def test_work_that_a_step_is_at_is_spared(lake: Lake) -> None:
    tar = tar_of(lake, WORK)
    images(lake)
    backdate_all(lake, 100)
    plan = plan_retention(lake)
    with lake_build(lake, "images", {"crawl": "CC-2024-10", "bucket": 0}, PROVENANCE) as build:
        build.resumable(WORK)
        swept = sweep(lake, plan)
    assert there(lake, tar)
    assert swept.spared == 2


def test_what_work_published_stays_as_long_as_somebody_may_go_on_with_it(lake: Lake) -> None:
    staged = StagingFolder(lake.staging / "images" / BUCKET.replace("/", "__"), WORK)
    with staged:  # and then it was killed
        tar = tar_of(lake, staged.mark)
    backdate_all(lake, 100)
    os.utime(staged.path / "mark", (days_ago(20).timestamp(),) * 2)
    _, swept = collect(lake)
    assert there(lake, tar)
    assert swept.spared == 2
    backdate_all(lake, 100)
    os.utime(staged.path, (days_ago(100).timestamp(),) * 2)
    collect(lake)
    assert not there(lake, tar)
    assert not staged.path.exists()


def test_a_file_is_as_old_as_it_has_been_published(lake: Lake) -> None:
    staged = lake.root / put(lake, "staged.tar", days=100)
    lake.storage.publish(staged, f"files/images/{BUCKET}/{WORK}/00000.tar")
    images(lake)
    collect(lake)
    assert there(lake, f"files/images/{BUCKET}/{WORK}/00000.tar")


def test_a_writer_that_commits_meanwhile_loses_nothing(lake: Lake) -> None:
    pairs(lake, 0)
    backdate_all(lake, 100)
    done = threading.Event()

    def sweeping() -> None:
        while not done.is_set():
            collect(lake)

    sweeper = threading.Thread(target=sweeping)
    sweeper.start()
    try:
        versions = [pairs(lake, n) for n in range(1, 16)]
    finally:
        done.set()
        sweeper.join()
    assert all(readable(lake, "unique_pairs", version) for version in versions)


def test_two_sweeps_do_not_run_at_once(lake: Lake) -> None:
    inside = []

    def again(_: int) -> None:
        with pytest.raises(LakeError, match="another process removes"):
            sweep(lake, plan)
        inside.append(True)

    plan = plan_retention(lake)
    sweep(lake, plan, progress=again)
    assert inside


# -- limits and accidents ---------------------------------------------------------------------------------------------


def test_a_sweep_ends_when_its_time_is_up(lake: Lake) -> None:
    pairs(lake, 1)
    pairs(lake, 2)
    backdate_all(lake, 100)
    plan = plan_retention(lake)
    swept = sweep(lake, plan, seconds=-1)
    assert (swept.complete, dict(swept.files)) == (False, {})
    assert sweep(lake, plan).complete


_KILLED = """
import os, signal, sys
from laion_assets.lake.opening import lake_at
from laion_assets.delta.retention import plan_retention
from laion_assets.delta.folder import FolderStorage
from laion_assets.delta.sweep import sweep

lake, left = lake_at(sys.argv[1]), [int(sys.argv[2])]

def delete(self, names):
    for name in names:
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        self._path(name).unlink()

FolderStorage.delete = delete
sweep(lake, plan_retention(lake))
"""


@pytest.mark.parametrize("files", [0, 1, 3])
def test_a_sweep_that_is_killed_leaves_a_readable_lake_and_the_next_goes_on(lake: Lake, files: int) -> None:
    first = pairs(lake, 1)
    training_set(lake, "some", WORK)
    for n in (2, 3):
        pairs(lake, n)
    old, new = tar_of(lake, WORK), tar_of(lake, OTHER_WORK)
    images(lake, old)
    images(lake, new)
    backdate_all(lake, 100)
    total = sum(freed(plan_retention(lake)).values())
    assert total == 4
    process = subprocess.run([sys.executable, "-c", _KILLED, str(lake.root), str(files)], timeout=60, check=False)
    assert process.returncode == -signal.SIGKILL
    for table, version in (("unique_pairs", first), ("unique_pairs", 3), ("images", 2)):
        assert readable(lake, table, version)
    assert there(lake, new)
    _, swept = collect(lake)
    assert sum(swept.files.values()) == total - files
    assert not there(lake, old)
    assert freed(plan_retention(lake)) == {}


def test_a_retention_shorter_than_a_write_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        RetentionOptions(days=0.5)


def test_delta_rs_would_lose_a_version_that_was_replaced_lately(lake: Lake) -> None:
    """Why its vacuum is not used: should this fail one day, it could be."""
    first, second = pairs(lake, 1), pairs(lake, 2)
    backdate_all(lake, 100)
    backdate(lake, "unique_pairs", second, 10)
    [path] = lake.table("unique_pairs", first).file_uris()
    table = DeltaTable(lake.path("unique_pairs"))
    table.create_checkpoint()
    assert readable(lake, "unique_pairs", first)
    listed = DeltaTable(lake.path("unique_pairs")).vacuum(retention_hours=30 * 24, dry_run=True, full=True)
    assert any(Path(path).name in name for name in listed)
