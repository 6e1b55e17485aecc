"""`--wat-files` and `--format`: they change a crawl's list when they are given, and leave it alone otherwise."""

from collections.abc import Callable

from laion_assets.delta.lake import Lake
from laion_assets.orchestration.planning.crawls import CrawlRequest
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import Settings

LakeCopy = Callable[..., Settings]
MakeBuilder = Callable[[Settings], Builder]
LATER = ("unique_pairs", "images", "clip_embeddings", "filtered_pairs")
REQUEST = CrawlRequest(crawls=CRAWLS[:1], until="candidate_pairs")


def listed(lake: Lake) -> list[str]:
    return lake.rows("wat_files", {"crawl": CRAWLS[0]}, ["path"])["path"].sort().to_list()


def test_a_crawl_is_narrowed_left_alone_and_widened(lake_copy: LakeCopy, builder: MakeBuilder) -> None:
    settings = lake_copy(without=LATER)
    whole = listed(settings.open_lake())

    narrow = settings.model_copy(update={"wat_files": 1})
    outcome = builder(narrow).build(REQUEST)
    assert (outcome.built, outcome.failures) == (3, [])  # the list, and both shards built on it
    lake = settings.open_lake()
    assert listed(lake) == whole[:1]
    commit = lake.commit("wat_files", {"crawl": CRAWLS[0]})
    assert commit is not None
    assert commit.drops == {"beyond_limit": len(whole) - 1}
    assert builder(narrow).build(REQUEST).built == 0

    assert builder(settings).build(REQUEST).built == 0
    assert listed(settings.open_lake()) == whole[:1]

    assert builder(settings.model_copy(update={"wat_files": len(whole)})).build(REQUEST).built == 3
    assert listed(settings.open_lake()) == whole


def test_another_format_lists_other_files(lake_copy: LakeCopy, builder: MakeBuilder) -> None:
    settings = lake_copy(without=LATER, format="warc")
    assert builder(settings).build(REQUEST).built == 3
    assert all(path.endswith(".warc.gz") for path in listed(settings.open_lake()))
    assert builder(settings).build(REQUEST).built == 0
