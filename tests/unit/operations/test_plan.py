"""The arithmetic of plans, by hand and by what must hold for all of them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laion_assets.operations.assumptions import (
    LAION_5B_CANDIDATES,
    LAION_5B_CRAWLS,
    PUBLISHED,
    AssumptionError,
    Assumptions,
)
from laion_assets.operations.estimate import Estimate, total
from laion_assets.operations.plan import Fleet, Plan, Workload, plan

ROUND = PUBLISHED.given(
    {
        "wat_bytes_per_file": 100e6, "candidates_per_file": 10_000, "unique_share": 0.5, "urls_per_pair": 0.8,
        "attempted_share": 0.5, "success_share": 0.5, "embedded_share": 0.4, "kept_share": 0.25,
        "download_bytes_per_picture": 1e5, "extract_core_seconds": 36, "dedup_core_seconds": 3.6,
        "download_core_seconds": 0.036, "embed_gpu_seconds": 0.0036, "embed_core_seconds": 0.36,
        "filter_core_seconds": 7.2, "run_seconds": 36, "candidate_pairs_row_bytes": 100, "unique_pairs_row_bytes": 100,
        "images_row_bytes": 50, "filtered_pairs_row_bytes": 200, "clip_embeddings_row_bytes": 1_000,
        "tar_bytes_per_picture": 40_000, "upload_part_bytes": 1e6, "log_gets_per_run": 10, "gets_per_slice": 5,
        "busy_share": 0.5, "core_hour_price": 0.05, "gpu_hour_price": 2, "storage_price": 0.02, "months": 3,
        "put_price": 0.005, "get_price": 0.0004, "egress_price": 0.1, "egress_share": 0.5,
    }
)  # fmt: skip
"""Numbers that can be multiplied in the head."""

TWO = Workload(crawls=2, files=Estimate.exactly(2_000), shards=4, buckets=8, urls_per_tar=1_000)
FLEET = Fleet(machines=5, cores=10, gpus=4)


def stage(made: Plan, table: str):
    return next(found for found in made.stages if found.table == table)


def test_the_funnel_by_hand() -> None:
    found = {name: rows.value for name, rows in plan(TWO, FLEET, ROUND).funnel.items()}
    assert found == pytest.approx(
        {
            "WAT files": 2_000, "candidates": 20e6, "unique pairs": 10e6, "urls": 8e6, "attempts": 4e6,
            "pictures": 2e6, "encoded": 4e6, "kept": 1e6,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("table", "runs", "core_hours", "gpu_hours", "read", "stored", "puts", "gets"),
    [
        # 2,000 files of 36 s; 20 M rows of 100 B in parts of 1 MB; one read a file
        ("candidate_pairs", 8, 20, 0, 200e9, 2e9, 2_000, 2_000),
        # 20 M candidates, and 10 M pairs that half a time are compared again, at 3.6 s a million;
        # 2 x 4 x 8 slices of candidates, and in the second crawl 8 buckets of the first, 5 reads each
        ("unique_pairs", 16, 25e6 / 1e6 * 3.6 / 3600, 0, 0, 1e9, 1_000, 5 * (64 + 8)),
        # 4 M urls of 0.036 s; 2 M pictures of 100 kB in, of 40 kB kept; 3 objects for each of 4,000 tars
        ("images", 16, 40, 0, 200e9, 80e9 + 0.4e9, 80_400 + 12_000, 0),
        ("clip_embeddings", 16, 0, 4, 0, 4e9, 4_000, 80_000),
        ("filtered_pairs", 16, 0.02, 0, 0, 0.2e9, 200, 0),
        # 8 + 16 x 4 and 2 x 2 for the lists of each crawl
        ("(running it)", 0, 0.76, 0, 0, 0, 152, 760),
    ],
)
def test_each_stage_by_hand(table, runs, core_hours, gpu_hours, read, stored, puts, gets) -> None:
    found = stage(plan(TWO, FLEET, ROUND), table)
    assert found.runs == runs
    values = [found.core_hours, found.gpu_hours, found.read_bytes, found.stored_bytes, found.puts, found.gets]
    assert [value.value for value in values] == pytest.approx([core_hours, gpu_hours, read, stored, puts, gets])


def test_hours_machines_and_money_by_hand() -> None:
    made = plan(TWO, FLEET, ROUND)
    cores = 20 + 0.025 + 40 + 0.02 + 0.76
    assert made.core_hours.value == pytest.approx(cores)
    assert made.gpu_hours.value == pytest.approx(4)
    assert made.hours(stage(made, "images")).value == pytest.approx(40 / 0.5 / 50)
    assert made.hours(stage(made, "clip_embeddings")).value == pytest.approx(4 / 0.5 / 4)
    assert made.elapsed_hours.value == pytest.approx(cores / 25 + 2)
    assert made.machines_for(0.1) == (6, 4)  # 60.8 core hours in 1.2 busy hours: 51 cores; 4 GPU hours: 3.3 GPUs
    puts, gets = 2_000 + 1_000 + 92_400 + 4_000 + 200 + 152, 2_000 + 360 + 80_000 + 760
    assert {name: cost.value for name, cost in made.costs().items()} == pytest.approx(
        {
            "processors": cores / 0.5 * 0.05,
            "GPUs": 4 / 0.5 * 2,
            "storage": (2 + 1 + 80.4 + 4 + 0.2) * 0.02 * 3,
            "requests": puts / 1000 * 0.005 + gets / 1000 * 0.0004,
            "egress": 80 * 0.5 * 0.1,
        }
    )


def test_without_gpus_the_cores_encode() -> None:
    found = stage(plan(TWO, Fleet(machines=5, cores=10, gpus=0), ROUND), "clip_embeddings")
    assert (found.core_hours.value, found.gpu_hours.value) == pytest.approx((400, 0))


def test_laion_5b_comes_out_at_what_was_published() -> None:
    """5.85 billion kept, 220 TB of their pictures, and 4 to 12 weeks of downloads on ten machines of 16 cores."""
    per_file = PUBLISHED["candidates_per_file"].value
    size = Workload(
        crawls=LAION_5B_CRAWLS, files=Estimate.exactly(LAION_5B_CANDIDATES / per_file), shards=64, buckets=256
    )
    made = plan(size, Fleet(machines=10, cores=16, gpus=8), PUBLISHED)
    kept = made.funnel["kept"]
    assert kept.value == pytest.approx(5.85e9, rel=0.01)
    assert kept.low < 5e9 < 7e9 < kept.high
    assert kept.value * PUBLISHED["tar_bytes_per_picture"].value == pytest.approx(220e12, rel=0.01)
    weeks = made.hours(stage(made, "images")).value / 24 / 7
    assert 4 < weeks < 12


def test_an_assumption_that_is_not_known_or_cannot_be_is_refused() -> None:
    with pytest.raises(AssumptionError, match=r"unique_shore.*unique_share"):
        PUBLISHED.given({"unique_shore": 1})
    with pytest.raises(AssumptionError, match="0 or more"):
        PUBLISHED.given({"months": -1})
    with pytest.raises(AssumptionError, match="0 or more"):
        PUBLISHED.given({"months": float("nan")})


def test_what_is_given_goes_before_what_was_measured() -> None:
    known = PUBLISHED.measured({"unique_share": (Estimate(0.5, 0.4, 0.6), 7)}).given({"months": 2})
    about = {assumption.name: assumption for assumption in known.all()}
    assert (about["unique_share"].source, about["unique_share"].partitions) == ("measured here on 7 partitions", 7)
    assert about["months"].source == "given"
    assert known.given({"unique_share": 0.9})["unique_share"] == Estimate.exactly(0.9)


def test_every_assumption_says_what_it_is_and_where_it_comes_from() -> None:
    for assumption in PUBLISHED.all():
        assert assumption.meaning
        assert assumption.source


# -- what must hold for all plans --------------------------------------------------------------------------------------

LINEAR = ("read_bytes", "stored_bytes")
SCALES = {name: st.floats(0.5, 2) for name in PUBLISHED if name not in ("egress_share", "unique_share")}


@st.composite
def known(draw: st.DrawFn) -> Assumptions:
    """The published numbers, each somewhat larger or smaller."""
    scaled = draw(st.fixed_dictionaries(SCALES))
    return PUBLISHED.measured({name: (PUBLISHED[name] * factor, 3) for name, factor in scaled.items()})


workloads = st.builds(
    Workload,
    crawls=st.integers(1, 50),
    files=st.floats(1, 1e7).map(Estimate.exactly),
    shards=st.integers(1, 128),
    buckets=st.integers(1, 512),
    urls_per_tar=st.integers(100, 100_000),
)


@settings(max_examples=60)
@given(workloads, known())
def test_twice_the_crawls_take_twice_of_everything_but_comparisons(size: Workload, assumed: Assumptions) -> None:
    double = Workload(
        crawls=2 * size.crawls, files=size.files * 2, shards=size.shards, buckets=size.buckets,
        urls_per_tar=size.urls_per_tar,
    )  # fmt: skip
    one, two = plan(size, FLEET, assumed), plan(double, FLEET, assumed)
    for before, after in zip(one.stages, two.stages, strict=True):
        assert after.runs == 2 * before.runs
        for name in LINEAR if before.table == "unique_pairs" else (*LINEAR, "core_hours", "gpu_hours", "puts", "gets"):
            a, b = getattr(before, name), getattr(after, name)
            assert (b.value, b.low, b.high) == pytest.approx((2 * a.value, 2 * a.low, 2 * a.high)), (before.table, name)
    for name, rows in one.funnel.items():
        assert two.funnel[name].value == pytest.approx(2 * rows.value)
    compared, again = stage(one, "unique_pairs").core_hours.value, stage(two, "unique_pairs").core_hours.value
    assert again > 2 * compared * (1 - 1e-9)


@settings(max_examples=60)
@given(workloads, known(), st.integers(1, 100))
def test_more_machines_change_how_long_it_takes_and_not_what_it_costs(
    size: Workload, assumed: Assumptions, times: int
) -> None:
    few = plan(size, Fleet(machines=1, cores=8, gpus=1), assumed)
    many = plan(size, Fleet(machines=times, cores=8, gpus=times), assumed)
    assert many.elapsed_hours.value == pytest.approx(few.elapsed_hours.value / times)
    assert total(many.costs().values()).value == pytest.approx(total(few.costs().values()).value)


@settings(max_examples=60)
@given(workloads, known())
def test_ranges_hold_what_is_likely_and_all_stages_add_up(size: Workload, assumed: Assumptions) -> None:
    made = plan(size, FLEET, assumed)
    assert made.core_hours.value == pytest.approx(sum(s.core_hours.value for s in made.stages))
    for cost in made.costs().values():
        assert 0 <= cost.low <= cost.value <= cost.high
    order = [made.funnel[n].value for n in ("candidates", "unique pairs")]
    assert order == sorted(order, reverse=True)


@settings(max_examples=30)
@given(workloads, st.floats(0.5, 60))
def test_so_many_machines_do_it_in_time_and_one_less_would_not(size: Workload, days: float) -> None:
    made = plan(size, FLEET, PUBLISHED)
    machines, gpus = made.machines_for(days)
    busy = PUBLISHED["busy_share"].value
    hours = days * 24 * (1 + 1e-9)
    assert made.core_hours.value / (machines * FLEET.cores * busy) <= hours
    assert machines == 1 or made.core_hours.value / ((machines - 1) * FLEET.cores * busy) > hours / (1 + 1e-6)
    assert made.gpu_hours.value / (gpus * busy) <= hours
