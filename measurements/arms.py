"""Does the filter help? Both arms of the sample at several amounts of compute and from several seeds.

    python measurements/arms.py --lake LAKE [--seeds 3] [--scales 4k 8k 16k 32k 128k]

LAKE was built by `laion demo`, which also drew its benchmarks. For each scale the two recipes of `recipes/sample.yaml`,
`sample-filtered-SCALE` and `sample-unfiltered-SCALE`, are trained once a seed under names such as
`sample-filtered-32k-s1`, and measured on every benchmark of the lake. What is done is left alone, so that the same
command goes on after an interruption, and a later one with other scales or more seeds adds to what is there; the tables
at the end are of everything that was trained this way.
"""

import argparse
import time
from pathlib import Path
from statistics import fmean, stdev, variance
from typing import Any

import dagster as dg
import duckdb
import polars as pl
import yaml
from rich import box
from rich.console import Console
from rich.table import Table

from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import recorded_shape
from laion_assets.orchestration.planning.recipes import EvaluationRequest, TrainingRequest
from laion_assets.orchestration.runs.builder import Builder
from laion_assets.orchestration.runs.reporter import Lines
from laion_assets.settings import LAKE_SETTINGS_FILE, Settings
from laion_assets.sql.session import connect
from laion_assets.training.recipe import RECIPES

ARMS = ("filtered", "unfiltered")
SCALES = ("4k", "8k", "16k", "32k", "128k")
SEEDS = 9
"""As many seeds have recipes, whether they are asked for or not. 0 is left to the recipes of the demo itself."""

SCORES = """
    SELECT recipe, benchmark, 'top-1' AS measure, top1 AS score, standard_error AS error, chance FROM zero_shot_scores
    UNION ALL
    SELECT recipe, benchmark, 'R@1', (image_recall_at_1 + text_recall_at_1) / 2 AS recall,
           sqrt(recall * (1 - recall) / images), 1 / images
    FROM retrieval_scores
"""


def recipe_name(arm: str, scale: str, seed: int) -> str:
    """Name of the recipe of an arm at a scale from a seed."""
    return f"sample-{arm}-{scale}-s{seed}"


def write_recipes(folder: Path) -> None:
    """Write the recipes of all arms, scales and seeds, each a recipe of the sample with another seed."""
    shared = yaml.safe_load((RECIPES / "sample.yaml").read_text("utf-8"))
    own = shared.pop("recipes")
    shared["model_configs"] = str((RECIPES / shared["model_configs"]).resolve())
    made = {
        recipe_name(arm, scale, seed): {**own[f"sample-{arm}-{scale}"], "seed": seed}
        for scale in SCALES
        for arm in ARMS
        for seed in range(1, SEEDS + 1)
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "arms.yaml").write_text(yaml.safe_dump({**shared, "recipes": made}, sort_keys=False), "utf-8")


def lake_settings(lake: Path, recipes: Path) -> Settings:
    """The lake's own settings, with another folder of recipes."""
    shape = recorded_shape(str(lake))
    if shape is None:
        raise SystemExit(f"{lake} is no lake: `laion demo --lake {lake}` builds one")
    shards, buckets = shape
    return Settings(
        _env_file=lake / LAKE_SETTINGS_FILE, lake=str(lake), shards=shards, buckets=buckets, recipes=str(recipes)
    )  # type: ignore[call-arg]


def train_and_measure(settings: Settings, names: list[str]) -> None:
    """Train recipes and measure them on every benchmark of the lake; what is done is left alone."""
    with dg.DagsterInstance.ephemeral() as instance:
        builder = Builder(settings, instance, Lines())
        trained = builder.build(TrainingRequest(recipes=names))
        failures = trained.failures or builder.build(EvaluationRequest(recipes=names)).failures
    if failures:
        raise SystemExit("\n".join(": ".join(failure) for failure in failures))


def scores(lake: Lake) -> pl.DataFrame:
    """A row a recipe of ours and benchmark: arm, scale, seed, benchmark, measure, score, error, chance; in per cent."""
    rows = connect(lake).sql(SCORES).pl()
    known = pl.DataFrame(
        [(recipe_name(a, c, s), a, c, s) for c in SCALES for a in ARMS for s in range(1, SEEDS + 1)],
        schema=["recipe", "arm", "scale", "seed"],
        orient="row",
    )
    return rows.join(known, on="recipe").with_columns(pl.col("score", "error", "chance") * 100)


def verdict(filtered: pl.DataFrame, unfiltered: pl.DataFrame) -> str:
    """Whether the filter helps by more than what another seed, or other pictures, would change.

    Its gain is the difference of the means. The spread is the wider of the two arms' ranges over the seeds, and no less
    than two standard errors of a single score: two seeds may agree by chance.
    """
    arms: list[list[float]] = [frame["score"].to_list() for frame in (filtered, unfiltered)]
    if min(map(len, arms)) < 2:
        return "one seed"
    gain = fmean(arms[0]) - fmean(arms[1])
    ranges = [max(arm) - min(arm) for arm in arms]
    errors = [2 * max(frame["error"].to_list()) for frame in (filtered, unfiltered)]
    if abs(gain) <= max(*ranges, *errors):
        return "within the spread"
    return "filtered" if gain > 0 else "unfiltered"


def print_arms(measured: pl.DataFrame, console: Console) -> None:
    """Print both arms at each scale and benchmark, with what another seed changes."""
    table = Table(title="mean, range and standard deviation over seeds, in per cent", box=box.SIMPLE_HEAD)
    for heading in ("scale", "benchmark", "seeds", "filtered", "unfiltered", "gain", "chance", "better"):
        table.add_column(heading, justify="left" if heading in ("scale", "benchmark", "better") else "right")
    for scale in SCALES:
        of_scale = measured.filter(scale=scale).sort("measure", "benchmark", descending=[True, False])
        for benchmark in of_scale["benchmark"].unique(maintain_order=True):
            rows = of_scale.filter(benchmark=benchmark)
            frames = [rows.filter(arm=arm) for arm in ARMS]
            by_arm: list[list[float]] = [frame["score"].to_list() for frame in frames]
            if not all(by_arm):
                continue
            gain = fmean(by_arm[0]) - fmean(by_arm[1])
            table.add_row(
                scale,
                f"{benchmark} {rows['measure'][0]}",
                " / ".join(str(n) for n in dict.fromkeys(len(arm) for arm in by_arm)),
                *(_summary(arm) for arm in by_arm),
                f"{gain:+.1f}{_uncertainty(by_arm)}",
                f"{rows['chance'][0]:.1f}",
                verdict(*frames),
            )
        table.add_section()
    console.print(table)


def _summary(values: list[float]) -> str:
    spread = f", sd {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{fmean(values):.1f} ({min(values):.1f}..{max(values):.1f}{spread})"


def _uncertainty(arms: list[list[float]]) -> str:
    """Standard error of the difference of two means, where both have a spread."""
    if min(map(len, arms)) < 2:
        return ""
    return f" ± {sum(variance(arm) / len(arm) for arm in arms) ** 0.5:.1f}"


def print_rows(rows: duckdb.DuckDBPyRelation, title: str, console: Console) -> None:
    """Print a query's rows."""
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for column in rows.columns:
        table.add_column(column, overflow="fold")
    for row in rows.fetchall():
        table.add_row(*("" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
                        for value in row))  # fmt: skip
    console.print(table)


def print_summaries(lake: Lake, console: Console) -> None:
    """Print what the lake makes of the scores of all its recipes: laws, robustness, and how fast the trainings were."""
    con: Any = connect(lake)
    laws = con.sql("""
        SELECT benchmark, arm, error_model, coefficient AS a, exponent AS b, ci_low, ci_high, intercept,
               r_squared AS r2, points, recipes, seeds, compute_max / compute_min AS "from 1 to", reason
        FROM scaling_laws ORDER BY ALL
    """)
    print_rows(laws, "scaling laws: error = a C^-b, C in GMACs", console)
    shifts = con.sql("""
        SELECT benchmark, in_distribution_benchmark AS shifted_from, regexp_replace(recipe, '-s\\d+$', '') AS recipes,
               count(*) AS models, avg(in_distribution_accuracy) * 100 AS there, avg(shifted_accuracy) * 100 AS here,
               avg(effective_robustness) * 100 AS effective, any_value(reason) AS reason
        FROM robustness GROUP BY ALL ORDER BY ALL
    """)
    print_rows(shifts, "robustness: accuracy under shift beside accuracy in distribution, per cent", console)
    speeds = con.sql("""
        SELECT regexp_extract(recipe, '\\d+k') AS scale, count(DISTINCT recipe) AS trainings,
               sum(wall_seconds) / count(DISTINCT recipe) AS seconds, median(samples_per_second) AS "samples a second",
               any_value(device) AS device
        FROM clip_checkpoints WHERE regexp_matches(recipe, '-s\\d+$') GROUP BY scale ORDER BY length(scale), scale
    """)
    print_rows(speeds, "time of the trainings, without what comes before and after", console)


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description="Both arms of the sample over scales and seeds.")
    parser.add_argument("--lake", type=Path, required=True, help="a lake that `laion demo` built")
    parser.add_argument("--seeds", type=int, default=3, choices=range(SEEDS + 1), metavar=f"0..{SEEDS}",
                        help="how many; 0: print what is there")  # fmt: skip
    parser.add_argument("--scales", nargs="+", default=list(SCALES), choices=SCALES)
    given = parser.parse_args()
    console = Console(width=None if Console().is_terminal else 200)
    lake = given.lake.expanduser().resolve()
    settings = lake_settings(lake, lake / "files" / "recipes")
    write_recipes(lake / "files" / "recipes")
    for scale in given.scales:
        names = [recipe_name(arm, scale, seed) for seed in range(1, given.seeds + 1) for arm in ARMS]
        started = time.monotonic()
        if names:
            train_and_measure(settings, names)
            console.print(f"{scale}: {len(names)} recipes in {time.monotonic() - started:.0f} s", highlight=False)
    opened = settings.open_lake(create=False)
    print_arms(scores(opened), console)
    print_summaries(opened, console)


if __name__ == "__main__":
    main()
