"""Digests keep their digits: lakes, work in progress and caches that older code wrote are known by them."""

import dataclasses
from datetime import datetime
from pathlib import Path

import pytest

from laion_assets.common.digests import file_sha256, json_digest, text_digest
from laion_assets.delta.checked import Checked
from laion_assets.delta.commits import combined_digest
from laion_assets.delta.ledger_cache import entry_digest
from laion_assets.delta.marker import Marker
from laion_assets.delta.seals import Bytes, Seal
from laion_assets.delta.staleness import standing_digest
from laion_assets.delta.states import PartitionState, State
from laion_assets.download.driver import _digest_of
from laion_assets.evaluation.benchmark import Benchmark, dataset_sha256
from laion_assets.sql.cache import ModelCache

VALUE = {"ü": [1, 2.5, None, True], "a": {"z": "é\n", "b": ("x", 1)}}


@pytest.mark.parametrize(
    ("found", "known"),
    [
        pytest.param(json_digest(VALUE, sort_keys=True, digits=16), "03a5a74f0714bbb2", id="settings, news of a lake"),
        pytest.param(json_digest(VALUE, sort_keys=False, digits=12), "f21f89a25d6b", id="rows and tests of SQL models"),
        pytest.param(
            json_digest(VALUE, sort_keys=False, digits=32), "f21f89a25d6b464f264b1acc96efdf39", id="work on a shard"
        ),
        pytest.param(
            json_digest([VALUE, "code"], sort_keys=False),
            "751ef9462fe4d7d07a8e86efd4f85ebd12acb7cfba703e543582f1da886d9d4e",
            id="samples",
        ),
        pytest.param(
            text_digest(repr((VALUE, -1)), digits=32),
            "d067903cf77305929beec6545b5120e3",
            id="rows, downloads",
        ),
        pytest.param(text_digest("s3://bucket/lake", digits=16), "5746bde05df12a01", id="scratch of a bucket"),
        pytest.param(text_digest("s3://b/lake/t", digits=24), "1d8fc238b77164fa63f35768", id="kept ledgers"),
    ],
)
def test_a_value_has_the_digest_that_it_had(found: str, known: str) -> None:
    assert found == known


def test_what_is_written_in_a_lake_has_the_digest_that_it_had() -> None:
    assert combined_digest([("b", "2"), ("a", "1é")]) == "1a54de2d3b61a6d93db33b12f1edef39"
    stale = PartitionState(table="t", partition={"crawl": "c1"}, state=State.STALE, reasons=("r",), inherited=("i",))
    done = PartitionState(table="t", partition={"crawl": "c2"}, state=State.DONE, reasons=(), inherited=())
    assert standing_digest(["c2", "c1"], [stale, done]) == "f8cf9d66036e955c"
    entry = {"version": 3, "timestamp": 5, "x": datetime(2026, 1, 2), "a": "ü"}
    assert entry_digest(entry) == "501561e1bb54b3a73d3aa0957ae8db8c0b17a420c38eed1caa5b9ba9d321e6be"
    assert Marker({"shards": 4, "buckets": 8}, "2026-01-02T03:04:05+00:00").to_bytes() == (
        b'{"format": 1, "shards": 4, "buckets": 8, "created_at": "2026-01-02T03:04:05+00:00", '
        b'"digest": "9e6df157786d6503"}\n'
    )
    assert Seal(2, "ab", {"t/x": Bytes(3, "cd")}, {}, {"t/y": b"123"}).to_bytes() == (
        b'{"digest": "a2309752414eed9befce73b71a513e89146f0978afbdc7fff4e5fd6611132fd9", "seal":\n'
        b'{"beside": {}, "copies": {"t/y": "MTIz"}, "entry": "ab", "files": {"t/x": [3, "cd"]}, "version": 2}\n}\n'
    )


def test_what_names_a_file_of_this_machine_has_the_digest_that_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Checked(tmp_path, "scope"):
        assert [path.name for path in tmp_path.iterdir()] == ["5f161c9149882e0e.sound"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cache = ModelCache(Path("/project"), sources={})
    cache.put("key", "fact")
    cache.save()
    assert [p.name for p in (tmp_path / "cache").rglob("*.json")] == ["models-ea0135bca5e3bd81.json"]
    monkeypatch.setattr(cache, "_surroundings", ["1", {"b": "ü", "a": 1}])
    assert cache.key("b", {"z": 1, "a": 2}) == "4faaea9c7e82cba611b77ced34158498"


@dataclasses.dataclass
class _Matcher:
    names: frozenset[str]
    other: int


def test_what_is_asked_of_libraries_has_the_digest_that_it_had(tmp_path: Path) -> None:
    tar = tmp_path / "0.tar"
    tar.write_bytes(b"tar")
    texts = (("a", "ü"), ("a {c}",))
    benchmark = Benchmark("n", tmp_path, "zeroshot_classification", "test", (tar,), *texts, None)
    assert dataset_sha256(benchmark) == "f2d5838fa85a97d711f9957b3d9a4073dc898fad6d29dd8fe3cedf8f51cfa97f"
    matcher = _Matcher(frozenset({"b", "ü", "a"}), 3)
    assert _digest_of(matcher) == "7435558f3ee729fa996434c17c841414df75c614cc84edff5149a4885958a892"  # type: ignore[arg-type]


def test_the_order_of_keys_counts_only_where_it_is_said_to() -> None:
    one, other = {"a": 1, "b": 2}, {"b": 2, "a": 1}
    assert json_digest(one, sort_keys=True) == json_digest(other, sort_keys=True)
    assert json_digest(one, sort_keys=False) != json_digest(other, sort_keys=False)
    with pytest.raises(TypeError):
        json_digest({"at": datetime(2026, 1, 2)}, sort_keys=True)


def test_the_digest_of_a_file_is_the_one_that_everybody_computes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert file_sha256(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(FileNotFoundError):
        file_sha256(tmp_path / "nothing")
