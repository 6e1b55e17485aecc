"""Verifying a lake: all that is broken is found, and nothing else; what is repaired, and what a build heals."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from laion_assets.delta.build import lake_build
from laion_assets.delta.checked import Checked
from laion_assets.delta.commits import Commit
from laion_assets.delta.damage import damage_in
from laion_assets.delta.errors import LakeError, UpstreamNotValidated
from laion_assets.delta.history import LakeHistory
from laion_assets.delta.lake import Lake
from laion_assets.delta.logs import LogDamaged
from laion_assets.delta.repair import mark_damaged
from laion_assets.delta.scope import Scope
from laion_assets.delta.staleness import judge
from laion_assets.delta.states import Expectation, State
from laion_assets.delta.verify import Report, verify_lake
from laion_assets.images.decode import picture_fault
from laion_assets.lake.opening import lake_at
from laion_assets.lake.tars import tar_check
from laion_assets.tables.catalogue import CATALOGUE, TABLES
from laion_assets.training.shards import ShardError
from tests.s3 import BUCKET, environment, s3_server
from tests.unit.delta.conftest import PROVENANCE
from tests.unit.delta.tables_made import FIRST, SECOND, foreign, made
from tests.unit.delta.written import MARK, images, written_lake

BUCKET_0 = f"crawl={FIRST}/bucket=0"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    written_lake(str(folder / "lake"), folder / "scratch")
    return folder / "lake"


@pytest.fixture
def lake(original: Path, tmp_path: Path) -> Lake:
    """A lake of one's own to break."""
    shutil.copytree(original, tmp_path / "lake")
    return lake_at(str(tmp_path / "lake"))


def verified(lake: Lake, *tables: str, repair: bool = False, crawls: tuple[str, ...] = (), **scope: object) -> Report:
    """A lake opened afresh, looked at."""
    opened = Lake(lake.storage, lake.catalogue, lake.shape)
    return verify_lake(opened, Scope(tables, crawls, **scope), archive=tar_check(picture_fault), repair=repair)  # type: ignore[arg-type]


def places(report: Report) -> list[tuple[str, str]]:
    return sorted({(fault.table, fault.partition) for fault in report.faults})


def files_of(lake: Lake) -> list[Path]:
    """Every file that a verification answers for: newest data, logs, seals, and what rows name."""
    newest = [
        Path(lake.storage.address(f"{table}/{name}"))
        for table in lake.tables
        if lake.exists(table)
        for name in pa.table(lake.opened(table).get_add_actions(flatten=True)).column("path").to_pylist()
    ]
    logs = [path for folder in ("_delta_log", "_laion") for path in lake.root.glob(f"*/{folder}/*.json")]
    return sorted([*newest, *logs, *lake.root.glob("files/**/*.tar"), *lake.root.glob("files/**/*.safetensors")])


def contents(lake: Lake) -> dict[Path, bytes]:
    files = (path for path in lake.root.rglob("*") if path.is_file() and ".staging" not in path.parts)
    return {path: path.read_bytes() for path in files}


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.unlink()
    path.write_bytes(content)


def data_file(lake: Lake, table: str, partition: str = BUCKET_0) -> Path:
    [(path, _)] = lake.partition_sizes(table, dict(item.split("=") for item in partition.split("/")))  # type: ignore[arg-type]
    return Path(path)


def tar(lake: Lake, crawl: str = FIRST) -> Path:
    return lake.root / f"files/images/crawl={crawl}/bucket=0/{MARK}/00000.tar"


def test_a_sound_lake_has_no_fault_and_is_not_written_to(lake: Lake) -> None:
    before = {
        path: path.read_bytes() for path in lake.root.rglob("*") if path.is_file() and ".staging" not in path.parts
    }
    report = verified(lake)
    assert (report.faults, report.repaired) == ([], [])
    assert report.seen.partitions > 20
    assert report.seen.unsealed == 0
    after = {
        path: path.read_bytes() for path in lake.root.rglob("*") if path.is_file() and ".staging" not in path.parts
    }
    assert after == before


@pytest.mark.parametrize("seed", range(int(os.environ.get("LAION_FLIPS", "40"))))
def test_any_flipped_bit_is_found_and_only_what_is_broken_is_told(seed: int, lake: Lake) -> None:
    chance = random.Random(seed)
    files = files_of(lake)
    kind = (".parquet", "_delta_log", "_laion", ".tar", ".safetensors")[seed % 5]
    chosen = chance.choice([path for path in files if kind in str(path.relative_to(lake.root))])
    flip(chosen, chance.randrange(chosen.stat().st_size * 8))
    name = chosen.relative_to(lake.root).as_posix()
    report = verified(lake)
    assert {fault.file for fault in report.faults} == {name}, (name, report.faults)
    assert all("\n" not in fault.line and "`laion " in fault.line for fault in report.faults)


@pytest.mark.parametrize("how", ["gone", "half", "empty", "longer"])
@pytest.mark.parametrize(
    "which", ["unique_pairs", "images", "tar", "shard", "weights", "entry", "newest entry", "seal", "takedowns"]
)
def test_what_is_torn_or_gone_is_found(which: str, how: str, lake: Lake) -> None:
    chosen = {
        "tar": tar(lake),
        "shard": next(lake.root.glob("files/training_sets/**/*.tar")),
        "weights": next(lake.root.glob("files/**/*.safetensors")),
        "entry": lake.root / f"unique_pairs/_delta_log/{1:020}.json",
        "newest entry": max((lake.root / "images/_delta_log").glob("*.json")),
        "seal": lake.root / f"unique_pairs/_laion/{1:020}.json",
    }.get(which) or data_file(lake, which, "kind=url" if which == "takedowns" else BUCKET_0)
    content = chosen.read_bytes()
    chosen.unlink()
    if how != "gone":
        chosen.write_bytes({"half": content[: len(content) // 2], "empty": b"", "longer": content + b"\0"}[how])
    found = {fault.file for fault in verified(lake).faults}
    if (which, how) == ("seal", "gone"):
        assert found == set(), "a commit without a seal is one of before there were seals"
    else:
        assert found == {chosen.relative_to(lake.root).as_posix()}


def test_a_picture_that_two_crawls_share_is_a_fault_of_both(lake: Lake) -> None:
    flip(tar(lake), 9_999)
    faults = sorted(verified(lake).faults, key=lambda fault: fault.partition)
    assert places(verified(lake)) == [("images", BUCKET_0), ("images", f"crawl={SECOND}/bucket=0")]
    assert f"`laion verify images --crawl {SECOND} --repair` marks it, then `laion build {SECOND}`" in faults[1].line


# -- what was written before there were seals -----------------------------------------------------------------------


def unsealed(lake: Lake) -> None:
    for folder in lake.root.glob("*/_laion"):
        shutil.rmtree(folder)


def test_without_seals_rows_and_tars_are_compared_with_what_there_is(lake: Lake) -> None:
    unsealed(lake)
    report = verified(lake)
    assert report.faults == []
    assert report.seen.unsealed == report.seen.partitions
    tar(lake).write_bytes(tar(lake).read_bytes()[:-2_000])
    flip(data_file(lake, "filtered_pairs"), 8 * 40)
    assert places(verified(lake)) == [
        ("filtered_pairs", BUCKET_0), ("images", BUCKET_0), ("images", f"crawl={SECOND}/bucket=0"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("position", "what"),
    [
        (512 + 30, "cannot be decoded"),  # in the first picture's tables
        (512 * 5, "damaged: no header of a member at byte"),  # the name of a member: its header's checksum is wrong
    ],
)
def test_a_damaged_picture_or_header_is_found_without_a_seal(position: int, what: str, lake: Lake) -> None:
    unsealed(lake)
    content = bytearray(tar(lake).read_bytes())
    content[position : position + 200] = b"\xff" * 200
    tar(lake).write_bytes(bytes(content))
    faults = verified(lake, "images", crawls=(FIRST,)).faults
    assert len(faults) == 1
    assert what in faults[0].what or "lacks" in faults[0].what


def test_repair_seals_what_is_sound_and_has_no_seal(lake: Lake) -> None:
    unsealed(lake)
    report = verified(lake, repair=True)
    assert (report.faults, report.sealed) == ([], report.seen.partitions + 2), "two tars"
    again = verified(lake)
    assert (again.faults, again.seen.unsealed) == ([], 0)
    flip(tar(lake), 8 * 600)
    assert [fault.what for fault in verified(lake).faults] == ["the tar is not as it was written (SHA-256)"] * 2


# -- repairing ---------------------------------------------------------------------------------------------------------


def state(lake: Lake, table: str, partition: str) -> tuple[State, tuple[str, ...]]:
    opened = lake_at(lake.uri)
    fixed = {k: int(v) if v.isdigit() else v for k, v in (item.split("=") for item in partition.split("/"))}
    expected = Expectation(settings_digest="s", externals={})
    found = judge(opened, TABLES[table], fixed, expected, {})
    return found.state, tuple(reason for reason in found.reasons if "damaged" in reason)


def test_repair_makes_a_damaged_partition_stale_and_no_other(lake: Lake) -> None:
    flip(data_file(lake, "unique_pairs"), 99)
    report = verified(lake, repair=True)
    assert [(done.healed, done.done) for done in report.repaired] == [
        (False, f"marked: `laion build {FIRST}` makes it again")
    ]
    assert state(lake, "unique_pairs", BUCKET_0)[1] == ("damaged, as `laion verify` found",)
    assert state(lake, "unique_pairs", f"crawl={SECOND}/bucket=0")[1] == ()
    version = lake_at(lake.uri).ledger("unique_pairs").version
    told = verified(lake, repair=True)
    assert len(told.faults) == 1, "until it is built again"
    assert lake_at(lake.uri).ledger("unique_pairs").version == version, "and is marked once"


def test_a_step_does_not_read_what_is_marked_as_damaged(lake: Lake) -> None:
    flip(data_file(lake, "unique_pairs"), 99)
    verified(lake, repair=True)
    opened = lake_at(lake.uri)
    with (
        pytest.raises(UpstreamNotValidated, match=f"is damaged, as `laion verify` found: `laion build {FIRST}`"),
        lake_build(opened, "images", {"crawl": FIRST, "bucket": 0}, PROVENANCE) as build,
    ):
        build.files("unique_pairs", [{"crawl": FIRST, "bucket": 0}])


def test_building_it_again_takes_the_mark_away(lake: Lake) -> None:
    flip(data_file(lake, "wat_files", f"crawl={FIRST}"), 99)
    verified(lake, repair=True)
    files = [{"file_number": n, "path": f"{n}.wat.gz", "shard": n} for n in range(4)]
    made(lake_at(lake.uri), "wat_files", f"crawl={FIRST}", files)
    assert state(lake, "wat_files", f"crawl={FIRST}")[1] == ()
    assert verified(lake).faults == []


def test_a_mark_means_nothing_for_what_was_published_after_it_was_looked_at(lake: Lake) -> None:
    seen = lake_at(lake.uri).commit("wat_files", {"crawl": FIRST})
    assert isinstance(seen, Commit)
    made(lake_at(lake.uri), "wat_files", f"crawl={FIRST}", [{"shard": 0}])
    mark_damaged(lake_at(lake.uri), seen)
    assert lake_at(lake.uri).ledger("wat_files").damaged == {}


def test_a_broken_tar_leaves_the_rows_readable_and_names_itself(lake: Lake) -> None:
    flip(tar(lake), 9_999)
    verified(lake, repair=True)
    ledger = lake_at(lake.uri).ledger("images")
    name = tar(lake).relative_to(lake.root).as_posix()
    assert ledger.damaged == {BUCKET_0: [name], f"crawl={SECOND}/bucket=0": [name]}
    commit = ledger.commits[BUCKET_0]
    assert (ledger.is_trusted(commit), ledger.has_sound_rows(commit)) == (False, True)


@pytest.mark.parametrize("how", ["torn", "emptied", "gone", "flipped"])
@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_log_entry_is_put_back_from_its_seal(version: int, how: str, lake: Lake) -> None:
    entry = lake.root / f"unique_pairs/_delta_log/{version:020}.json"
    content = entry.read_bytes()
    broken = {"torn": content[:100], "emptied": b"", "flipped": content.replace(b"timestamp", b"timestbmp")}
    entry.unlink()
    if how != "gone":
        entry.write_bytes(broken[how])
    report = verified(lake, repair=True)
    assert [(done.healed, done.done) for done in report.repaired] == [(True, "put back from its seal")]
    assert entry.read_bytes() == content
    assert verified(lake).faults == []


def test_a_lost_log_is_put_back_whole(lake: Lake) -> None:
    log = lake.root / "images/_delta_log"
    before = {path.name: path.read_bytes() for path in log.iterdir()}
    shutil.rmtree(log)
    with pytest.raises(LogDamaged, match="`laion verify images --repair` mends it") as told:
        lake_at(lake.uri).ledger("images")
    assert "\n" not in str(told.value)
    assert all(done.healed for done in verified(lake, repair=True).repaired)
    assert {path.name: path.read_bytes() for path in log.iterdir()} == before
    assert verified(lake).faults == []


def test_a_torn_entry_without_a_copy_counts_as_never_published(lake: Lake) -> None:
    unsealed(lake)
    newest = max((lake.root / "unique_pairs/_delta_log").glob("*.json"))
    newest.write_bytes(newest.read_bytes()[:200])
    for read in (lambda: lake_at(lake.uri).ledger("unique_pairs"), lambda: lake_at(lake.uri).opened("unique_pairs")):
        with pytest.raises(LogDamaged, match="log entry is torn; `laion verify unique_pairs --repair`") as told:
            read()
        assert "\n" not in str(told.value)
    done = verified(lake, repair=True).repaired
    assert [(one.healed, one.done) for one in done] == [
        (True, "no copy of it: what it published counts as never built; `laion build CRAWL` makes it again")
    ]
    assert set(lake_at(lake.uri).ledger("unique_pairs").commits) == {BUCKET_0}
    assert verified(lake, "unique_pairs").faults == []


@pytest.mark.parametrize(
    ("written", "broken"),
    [
        (r"\"rows_in\":", r"\"rows_in\"8"),  # no JSON any more
        (r"\"rows_in\":", r"\"rows_im\":"),  # a record of other fields
        (r"\"upstreams\": {", r"\"upstreams\":8 {"),
    ],
)
def test_a_record_that_does_not_read_is_told_as_its_entry(lake: Lake, written: str, broken: str) -> None:
    newest = max((lake.root / "unique_pairs/_delta_log").glob("*.json"))
    text = newest.read_text()
    assert written in text
    newest.write_text(text.replace(written, broken))
    opened = Lake(lake.storage, lake.catalogue, lake.shape)
    for read in (lambda: opened.ledger("unique_pairs"), lambda: LakeHistory(opened).of("unique_pairs")):
        with pytest.raises(LogDamaged, match="not as it was written; `laion verify unique_pairs --repair`") as told:
            read()
        assert "\n" not in str(told.value)
    assert [one.healed for one in verified(lake, repair=True).repaired] == [True]
    assert newest.read_text() == text


def test_an_entry_lost_from_the_middle_of_a_log_does_not_leave_rows_twice(lake: Lake) -> None:
    """What it took away is there again, beside what took its place: the digest of the later commit does not fit."""
    made(lake, "wat_files", f"crawl={FIRST}", [{"file_number": n, "shard": n} for n in range(2)])
    lost = lake_at(lake.uri).ledger("wat_files").version
    made(lake, "wat_files", f"crawl={FIRST}", [{"file_number": n, "shard": n} for n in range(3)])
    unsealed(lake)
    (lake.root / f"wat_files/_delta_log/{lost:020}.json").write_bytes(b"")
    with pytest.raises(LogDamaged, match="log entry is empty"):
        lake_at(lake.uri).ledger("wat_files")
    report = verified(lake, repair=True)
    assert [done.healed for done in report.repaired] == [True, False]
    assert lake_at(lake.uri).ledger("wat_files").damaged == {f"crawl={FIRST}": []}
    made(lake_at(lake.uri), "wat_files", f"crawl={FIRST}", [{"file_number": n, "shard": n} for n in range(3)])
    assert lake_at(lake.uri).rows("wat_files", {"crawl": FIRST}, ["shard"]).height == 3
    assert verified(lake, "wat_files").faults == []


def test_requests_for_removal_are_put_back_and_never_made_up(lake: Lake) -> None:
    rows = lake.scan("takedowns").collect()
    data_file(lake, "takedowns", "kind=url").unlink()
    report = verified(lake, repair=True)
    assert [(done.healed, done.done) for done in report.repaired] == [(True, "put back from its seal")]
    assert lake_at(lake.uri).scan("takedowns").collect().equals(rows)
    unsealed(lake)
    data_file(lake, "takedowns", "kind=url").write_bytes(b"")
    [done] = verified(lake, repair=True).repaired
    assert not done.healed
    assert "put the file back from a backup" in done.done
    assert lake_at(lake.uri).ledger("takedowns").damaged == {}


def test_a_table_without_log_and_seals_is_not_taken_for_one_that_was_never_built(lake: Lake) -> None:
    unsealed(lake)
    shutil.rmtree(lake.root / "unique_pairs/_delta_log")
    with pytest.raises(LogDamaged, match="move the folder unique_pairs away"):
        lake_at(lake.uri).ledger("unique_pairs")
    assert places(verified(lake)) == [("unique_pairs", "")]


def test_what_another_tool_wrote_is_read_and_not_compared(lake: Lake) -> None:
    foreign(lake, "wat_files", f"crawl={FIRST}")
    assert verified(lake, "wat_files").faults == []


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (f"files/images/{BUCKET_0}/{MARK}/00000.tar", f"images [{BUCKET_0}]"),
        (f"files/training_sets/small/{MARK * 2}/train/00000.tar", "training_sets [recipe=small]"),
    ],
)
def test_a_tar_that_a_training_cannot_read_is_named_with_what_heals_it(name: str, place: str, lake: Lake) -> None:
    """As `assets.training` raises it, where the pictures of all crawls were read."""
    error = LakeError("the shard cannot be written")
    error.__cause__ = ShardError(
        f"{lake.root / name} lacks the pictures of 3 sample keys; download its partition again"
    )
    read = {"images": [BUCKET_0, f"crawl={SECOND}/bucket=0"], "training_sets": ["recipe=small"]}
    found = damage_in(lake, error, read)
    assert str(found).startswith(f"{place} {name}: cannot be read (")
    assert "--repair` marks it, then `laion " in str(found)
    assert "\n" not in str(found)


def test_an_error_that_is_not_of_bytes_is_left_as_it_is(lake: Lake) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", f"{lake.root}/images/x.parquet")
    for error in (ValueError("a bug"), KeyError("x"), full):
        assert damage_in(lake, error) is None


# -- what is looked at, and going on -----------------------------------------------------------------------------------


def test_tables_and_crawls_narrow_what_is_looked_at(lake: Lake) -> None:
    flip(data_file(lake, "unique_pairs"), 99)
    flip(data_file(lake, "filtered_pairs", f"crawl={SECOND}/bucket=0"), 99)
    assert places(verified(lake, "unique_pairs")) == [("unique_pairs", BUCKET_0)]
    assert places(verified(lake, crawls=(SECOND,))) == [("filtered_pairs", f"crawl={SECOND}/bucket=0")]
    assert verified(lake, "filtered_pairs", crawls=(FIRST,)).faults == []


def test_shares_of_successive_turns_cover_everything_once(lake: Lake) -> None:
    whole = verified(lake).seen.partitions
    turns = [verified(lake, share=0.25, turn=turn).seen.partitions for turn in range(4)]
    assert sum(turns) == whole
    assert max(turns) < whole


class Interrupted(Exception):
    pass


class Ends:
    """Ends a verification after some files."""

    def __init__(self, after: int) -> None:
        self.left = after

    def more(self, files: int) -> None:
        """Nothing."""

    def done(self, files: int = 1) -> None:
        self.left -= files
        if self.left < 0:
            raise Interrupted


def test_an_interrupted_verification_goes_on_and_does_not_begin_anew(lake: Lake) -> None:
    flip(data_file(lake, "crawl_snapshots", f"crawl={FIRST}"), 99)  # among the first that are looked at
    whole = verified(lake).seen.partitions
    with pytest.raises(Interrupted):
        verify_lake(lake_at(lake.uri), Scope(), archive=tar_check(picture_fault), watch=Ends(12))
    report = verified(lake)
    assert report.seen.taken_over == 12
    assert places(report) == [("crawl_snapshots", f"crawl={FIRST}")], "what was found damaged is told again"
    assert report.seen.partitions == whole
    assert verified(lake).seen.taken_over == 0, "one that came to its end is not gone on with"


_KILLED = """
import os, signal, sys
from laion_assets.delta.history import LakeHistory
from laion_assets.delta.scope import Scope
from laion_assets.delta.verify import verify_lake
from laion_assets.lake.opening import lake_at

class Kills:
    left = 12
    def more(self, files): pass
    def done(self, files=1):
        self.left -= files
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

verify_lake(lake_at(sys.argv[1]), Scope(), archive=lambda tar, wanted, known: None, watch=Kills())
"""


def test_a_killed_verification_goes_on_as_well(lake: Lake) -> None:
    killed = subprocess.run([sys.executable, "-c", _KILLED, lake.uri], check=False)
    assert killed.returncode == -signal.SIGKILL
    report = verified(lake)
    assert (report.seen.taken_over, report.faults) == (13, [])


def test_repair_takes_over_what_was_found_sound_this_week(lake: Lake) -> None:
    flip(data_file(lake, "unique_pairs"), 99)
    seen = verified(lake).seen
    report = verified(lake, repair=True)
    assert report.seen.taken_over > seen.partitions
    assert places(report) == [("unique_pairs", BUCKET_0)]


def test_what_changed_since_is_looked_at_again(lake: Lake) -> None:
    with pytest.raises(Interrupted):
        verify_lake(lake_at(lake.uri), Scope(("images",)), archive=tar_check(picture_fault), watch=Ends(2))
    flip(tar(lake), 9_999)
    assert places(verified(lake, "images"))[0] == ("images", BUCKET_0)


def test_what_was_found_sound_is_kept_under_the_same_words_as_ever() -> None:
    """A verification that an older version began is gone on with."""
    words = "Scope(tables=('images',), crawls=('CC-1',), share=0.5, turn=3)"
    assert Scope(("images",), ("CC-1",), 0.5, 3).told(CATALOGUE.period) == words


def test_a_torn_line_of_what_was_found_counts_for_nothing(tmp_path: Path) -> None:
    with Checked(tmp_path, "all") as checked:
        checked.sound("one", 1)
        checked.sound("two", 2)
    [file] = tmp_path.glob("*.sound")
    file.write_bytes(file.read_bytes()[:-5])
    with Checked(tmp_path, "all") as checked:
        assert (checked.knows("one", 1), checked.knows("two", 2), checked.knows("one", 2)) == (True, False, False)
        checked.sound("three", 3)
        with pytest.raises(LakeError, match="another process verifies the same"), Checked(tmp_path, "all"):
            pass
    with Checked(tmp_path, "all") as checked:
        assert checked.knows("three", 3)


def test_a_lake_that_can_only_be_read_is_verified(lake: Lake) -> None:
    shutil.rmtree(lake.root / ".staging")
    lake.root.chmod(0o555)
    try:
        assert verified(lake).faults == []
    finally:
        lake.root.chmod(0o755)


# -- a lake in a bucket ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as url:
        yield url


def test_a_lake_in_a_bucket_is_verified_and_repaired(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(server, tmp_path / "scratch").items():
        monkeypatch.setenv(name, value)
    lake = written_lake(f"s3://{BUCKET}/{tmp_path.name}", tmp_path / "made")
    assert verified(lake).faults == []
    storage = lake.storage
    name = f"files/images/{BUCKET_0}/{MARK}/00000.tar"
    content = bytearray(storage.read(name))
    content[700] ^= 1
    storage.replace(name, bytes(content))
    entry = f"unique_pairs/_delta_log/{1:020}.json"
    storage.replace(entry, storage.read(entry)[:50])
    report = verified(lake, repair=True)
    assert sorted({(done.fault.file, done.healed) for done in report.repaired}) == [(name, False), (entry, True)]
    images(lake_at(lake.uri), tmp_path / "again", FIRST, (1, 2, 3))
    images(lake_at(lake.uri), tmp_path / "again", SECOND, (2, 5, 6), taken_over=FIRST)
    assert verified(lake).faults == []
