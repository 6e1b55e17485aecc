"""What the page says of training: what was learned from, how it went, what was left out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from laion_assets.charts.axes import rounded
from laion_assets.charts.drawing import Chart
from laion_assets.charts.training import training_curves
from laion_assets.common.quantities import counted, figure
from laion_assets.report.blocks import (
    Block,
    Cell,
    Columns,
    Heading,
    Note,
    Table,
    foreign,
    name,
    number,
    table_of,
)
from laion_assets.report.material import Material
from laion_assets.report.scores import scaling, scores, shift

_MOST_CURVES = 8
_SEARCHED = {
    "copies: same file": "same file",
    "copies: near and of the same colours": "same hash and colours",
    "near, of other colours": "same hash, other colours",
}
"""What a training set counts of the pictures that were compared, and how the page calls it."""
_LEFT_OUT = {
    "copy_of_evaluation_picture": "copies of evaluation pictures",
    "removed": "removed on request",
    "remainder": "less than a shard",
}
"""Why pairs are left out, in the order of columns; other reasons follow under their own name."""
_REASON = "pairs left out: "


def training(lake: Material) -> Sequence[Block]:
    """All about what was trained; one line where nothing was."""
    if not lake.has("training_sets"):
        return [Note(text="Nothing was trained on this lake yet. That is done by", command="laion train")]
    if not lake.has("clip_checkpoints"):
        return [Note(text="Nothing was trained yet on what was selected. That is done by", command="laion train"),
                *_sets(lake)]  # fmt: skip
    drawn = _drawn(lake)
    measured = [*scores(lake), *shift(lake, drawn), *scaling(lake)]
    unmeasured = [Note(text="No checkpoint was measured yet. That is done by", command="laion evaluate")]
    return [_recipes(lake), _curves(lake, drawn), *(measured or unmeasured), *_sets(lake)]


def _drawn(lake: Material) -> list[str]:
    """The recipes that are drawn: those that saw most."""
    rows = lake.rows(f"""
        SELECT recipe FROM (SELECT recipe, max(samples_seen) AS seen FROM clip_checkpoints GROUP BY recipe
            ORDER BY seen DESC, recipe LIMIT {_MOST_CURVES}) ORDER BY recipe""")
    return [row["recipe"] for row in rows]


def tainted(lake: Material) -> dict[str, str]:
    """By recipe, that its weights learned from removed pairs: requests name the weights that had, by their digest."""
    rows = lake.rows("""
        WITH withdrawn AS (SELECT value, requested_at AS at FROM takedowns WHERE kind = 'withdrawal'),
        named AS (SELECT unnest(tainted_checkpoints) AS checkpoint FROM takedowns AS request
            LEFT JOIN withdrawn ON withdrawn.value = request.kind || ' ' || request.value
            WHERE withdrawn.at IS NULL OR withdrawn.at < request.requested_at)
        SELECT recipe, count(DISTINCT epoch) AS epochs FROM clip_checkpoints
        WHERE recipe || ' epoch ' || epoch || ' ' || sha256 IN (SELECT checkpoint FROM named) GROUP BY recipe""")
    return {row["recipe"]: f"learned from removed pairs in {counted(row['epochs'], 'epoch')}" for row in rows}


def _recipes(lake: Material) -> Table:
    marks = tainted(lake)
    rows = lake.rows("""
        WITH ends AS (SELECT recipe, sum(wall_seconds) AS seconds, max_by(clip_checkpoints, epoch) AS last
            FROM clip_checkpoints GROUP BY recipe),
        learned AS (SELECT recipe, sum(samples)::BIGINT AS pairs, any_value(policy) AS source,
            any_value(selection) AS predicate FROM training_sets WHERE split = 'train' GROUP BY recipe)
        SELECT recipe, last.*, pairs, source, predicate, last.gmacs_per_sample * last.samples_seen AS compute,
            last.samples_seen / nullif(seconds, 0) AS speed
        FROM ends LEFT JOIN learned USING (recipe) ORDER BY recipe""")
    columns: Columns = {
        "recipe": lambda row: name(row["recipe"], note="; ".join(_notes(row, marks))),
        "model": lambda row: foreign(row["model"]),
        "learned from": lambda row: foreign(row["source"] or "–", note=row["predicate"] or ""),
        "pairs": lambda row: number(row["pairs"]),
        "samples seen": lambda row: number(row["samples_seen"]),
        "different": lambda row: number(row["samples_unique"]),
        "GMACs": lambda row: Cell(text=rounded(row["compute"]), kind="number"),
        "loss": lambda row: number(row["loss"]),
        "samples/s": lambda row: Cell(text=figure(row["speed"], 0), kind="number", note=row["device"] or ""),
    }
    note = (
        "GMACs: billions of multiply-accumulates of a forward pass over all samples seen, what laws of scaling are "
        "about. The loss is the mean of the last epoch; it grows with the batch, so compare like with like."
    )
    return table_of("Trained recipes", rows, columns, note=note)


def _notes(row: Mapping[str, Any], marks: Mapping[str, str]) -> Iterator[str]:
    if not row["final"]:
        yield f"not completed: epoch {row['epoch']}"
    if row["recipe"] in marks:
        yield marks[row["recipe"]]


def _curves(lake: Material, drawn: Sequence[str]) -> Chart:
    rows = lake.rows("SELECT recipe, samples_seen, loss FROM clip_checkpoints ORDER BY recipe, epoch")
    chart = training_curves(rows, drawn)
    others = len({row["recipe"] for row in rows}) - len(drawn)
    if not others:
        return chart
    more = f" The {len(drawn)} recipes that saw most; {others} more are in the table."
    return replace(chart, plots=[replace(plot, caption=plot.caption + more) for plot in chart.plots])


def _sets(lake: Material) -> list[Block]:
    """What became of the pairs that were selected, copies of evaluation pictures first."""
    counts = {
        row["recipe"]: row["counts"] or {}
        for row in lake.rows("""
            SELECT substr("partition", len('recipe=') + 1) AS recipe, any_value(counts) AS counts
            FROM commits WHERE table_name = 'training_sets' GROUP BY recipe""")
    }
    rows = lake.rows("""
        SELECT recipe, sum(samples) FILTER (split = 'train')::BIGINT AS train,
            sum(samples) FILTER (split = 'validation')::BIGINT AS held_back,
            max(excluded_benchmark) AS copies
        FROM training_sets GROUP BY recipe ORDER BY recipe""")
    found = {key.removeprefix(_REASON) for of in counts.values() for key in of if key.startswith(_REASON)}
    reasons = [*_LEFT_OUT, *sorted(found - set(_LEFT_OUT))]
    lines = []
    for row in rows:
        of = counts.get(row["recipe"], {})
        left_out = {reason: of.get(_REASON + reason, 0 if of else None) for reason in reasons}
        left_out["copy_of_evaluation_picture"] = row["copies"]
        searched = any(key in of for key in _SEARCHED)
        lines.append(
            [
                name(row["recipe"], note="" if searched or not of else "copies were not looked for"),
                number(of.get("pairs selected")),
                *(number(left_out[reason]) for reason in reasons),
                number(row["train"] or 0),
                number(row["held_back"] or 0),
                *(number(of.get(key)) for key in _SEARCHED),
            ]
        )
    headings = ["recipe", "pairs selected", *(_LEFT_OUT.get(r, r.replace("_", " ")) for r in reasons)]
    headings += ["learned from", "validation", *(f"pictures: {said}" for said in _SEARCHED.values())]
    note = (
        "Copies of evaluation pictures are left out: the same file, or a near perceptual hash and the same colours. "
        "Pictures whose hash alone is near stay. Every shard is full, so what would fill one only in part is left out."
    )
    table = Table(title="What became of selected pairs", headings=headings, rows=lines, note=note)
    return [Heading(text="What was left out"), _compared(lake), table]


def _compared(lake: Material) -> Note:
    row = lake.rows("SELECT count(*) AS pictures, count(DISTINCT benchmark) AS sets FROM benchmark_images")[0]
    if not row["sets"]:
        return Note(text="No evaluation set is registered, so no copies of its pictures were left out.")
    return Note(
        text=f"{figure(row['pictures'])} pictures of {figure(row['sets'])} evaluation sets are registered. Copies of "
        "those that were registered when a training set was made are left out of it, unless its recipe says otherwise."
    )
