"""From selected pairs to what a recipe learns from: which are samples, and how their shards are named and described."""

# Names of relations and quoted paths, never other values, are put into SQL here.

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl

from laion_assets.common.duck import number, quoted
from laion_assets.consent.removals import Removals
from laion_assets.evaluation.decontamination import Contamination, Pictures, find_contaminated
from laion_assets.training.arrangement import Arrangement, ShardOptions, arrange
from laion_assets.training.recipe import Recipe
from laion_assets.training.shards import ShardRow
from laion_assets.training.train import versions_column


@dataclass(frozen=True, kw_only=True)
class ChosenSamples:
    """The samples of a training set, in order, and what became of the other pairs."""

    arrangement: Arrangement
    selected: int
    """Pairs that were selected: samples and ``drops``."""
    drops: dict[str, int]
    """Pairs that are no samples, by reason."""
    copies: Contamination | None
    """What was found of evaluation pictures; None where the recipe does not look for them."""

    @property
    def samples(self) -> int:
        """Samples of all splits."""
        return sum(self.arrangement.samples.values())

    @property
    def left_out(self) -> dict[str, int]:
        """The reasons that occurred."""
        return {reason: count for reason, count in self.drops.items() if count}

    @property
    def counts(self) -> dict[str, int]:
        """What is worth remembering, by name."""
        copies = {} if self.copies is None else {
            "copies: same file": self.copies.exact,
            "copies: near and of the same colours": self.copies.confirmed,
            "near, of other colours": self.copies.refuted,
        }  # fmt: skip
        left_out = {f"pairs left out: {reason}": count for reason, count in self.left_out.items()}
        return {**copies, "pairs selected": self.selected, "samples": self.samples, **left_out}


def choose_samples(
    con: duckdb.DuckDBPyConnection,
    *,
    selected: str,
    recipe: Recipe,
    removals: Removals,
    benchmarks: str,
    pictures: Pictures,
    folder: Path,
) -> ChosenSamples:
    """Leave out of a selection what was removed and, where the recipe asks for it, copies of evaluation pictures.

    Args:
        con: knows the relations; tables and views of other names are made in it.
        selected: relation of the selected pairs, each once, with what leads to its picture.
        recipe: how samples are chosen and ordered.
        removals: takedowns and deny lists.
        benchmarks: relation of the evaluation pictures, as ``find_contaminated`` takes it.
        pictures: reads stored pictures, as ``find_contaminated`` takes it.
        folder: to write files to; those of the arrangement must stay until the shards are written.
    """
    told = ("expected_sha256", "original_sha256")  # by imports; they are compared, and no part of a sample
    digests = ("sha256", *told)
    annotated = removals.register(con).annotate(selected, final_url="final_url", pair_id="pair_id", sha256=digests)
    con.execute(
        f"CREATE TEMP TABLE kept AS SELECT * EXCLUDE (removal, {', '.join(told)}) FROM ({annotated}) "
        "WHERE removal IS NULL"
    )
    con.execute("CREATE TEMP TABLE copies (sha256 VARCHAR)")
    found = None
    if recipe.decontamination is not None:
        con.execute("""
            CREATE TEMP TABLE pictures AS
            SELECT sha256, any_value(perceptual_hash) AS perceptual_hash, min(shard_path) AS shard_path,
                   arg_min(sample_key, shard_path) AS sample_key
            FROM kept WHERE shard_path IS NOT NULL GROUP BY sha256
        """)
        found = find_contaminated(
            con,
            images="pictures",
            benchmarks=benchmarks,
            options=recipe.decontamination,
            pictures=pictures,
            output=folder / "copies",
        )
        con.execute(f"INSERT INTO copies SELECT sha256 FROM read_parquet({quoted(folder / 'copies')})")
    con.execute("CREATE VIEW clean AS SELECT * FROM kept WHERE sha256 IS NULL OR sha256 NOT IN (FROM copies)")
    options = ShardOptions(
        samples_per_shard=recipe.samples_per_shard,
        seed=recipe.seed,
        validation_fraction=recipe.validation_fraction,
    )
    arrangement = arrange(con, pairs="clean", options=options, output=folder / "arranged")
    pairs, kept, clean = (number(con, f"SELECT count(*) FROM {relation}") for relation in (selected, "kept", "clean"))
    drops = {**arrangement.drops, "removed": pairs - kept, "copy_of_evaluation_picture": kept - clean}
    return ChosenSamples(arrangement=arrangement, selected=pairs, drops=drops, copies=found)


def shards_token(con: duckdb.DuckDBPyConnection, recipe: Recipe, arrangement: Arrangement) -> str:
    """Names the folder of the shards: shards of other content must not be written over those that are published."""
    digest = hashlib.sha256(json.dumps(recipe.of_training_set(), sort_keys=True).encode())
    for split in arrangement.samples:
        content = con.execute(f"""
            SELECT sum(md5_number_lower(sample::VARCHAR)::HUGEINT)
            FROM read_parquet({quoted(arrangement.file(split))}) AS sample
        """).fetchone()
        digest.update(repr((split, content)).encode())
    return digest.hexdigest()[:32]


def source_tars(con: duckdb.DuckDBPyConnection, arrangement: Arrangement) -> list[str]:
    """The ``shard_path`` of every tar that holds pictures of the samples."""
    files = ", ".join(quoted(arrangement.file(split)) for split in arrangement.samples)
    return [
        tar for (tar,) in con.execute(f"SELECT DISTINCT shard_path FROM read_parquet([{files}]) ORDER BY 1").fetchall()
    ]


def training_set_rows(
    recipe: Recipe, shards: Sequence[ShardRow], chosen: ChosenSamples, versions: Mapping[str, int]
) -> pl.DataFrame:
    """Rows of ``training_sets``.

    Args:
        recipe: what the set is for.
        shards: what was written.
        chosen: what they were written of.
        versions: of every table that was read.
    """
    schema = {
        "split": pl.String, "shard_path": pl.String, "samples": pl.Int64, "unique_images": pl.Int64,
        "bytes": pl.Int64, "sha256": pl.String,
    }  # fmt: skip
    return pl.DataFrame(shards, schema=schema).with_columns(
        policy=pl.lit(recipe.selection.source),
        selection=pl.lit(recipe.selection.where),
        seed=pl.lit(recipe.seed, pl.Int64),
        excluded_benchmark=pl.lit(chosen.drops["copy_of_evaluation_picture"], pl.Int64),
        source_versions=versions_column(versions, len(shards)),
    )
