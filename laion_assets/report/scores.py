"""What checkpoints score: on benchmarks, under shift, and by how much compute was spent on them."""

from collections.abc import Sequence
from itertools import groupby

from laion_assets.charts.axes import rounded
from laion_assets.charts.scores import accuracy_under_shift, error_by_compute, percents
from laion_assets.common.quantities import figure, percent
from laion_assets.report.blocks import Block, Cell, Columns, Heading, Table, foreign, name, number, table_of
from laion_assets.report.blocks import shown as cut
from laion_assets.report.material import Material, Row

_FINAL = """
    (SELECT scored.*, made.arm, made.gmacs_per_sample * made.samples_seen AS compute FROM {table} AS scored
    JOIN clip_checkpoints AS made ON made.final AND made.recipe = scored.recipe AND made.epoch = scored.epoch
        AND made.sha256 = scored.checkpoint_sha256)"""
"""Scores of weights that are still a recipe's own, at the end of its schedule."""
_ZERO_SHOT, _RETRIEVAL = _FINAL.format(table="zero_shot_scores"), _FINAL.format(table="retrieval_scores")


def scores(lake: Material) -> list[Block]:
    """Zero-shot accuracy and recall of every recipe's last checkpoint."""
    tables = [*_zero_shot(lake), *_retrieval(lake)]
    return [Heading(text="Scores"), *tables] if tables else []


def _zero_shot(lake: Material) -> list[Block]:
    rows = lake.rows(f"FROM {_ZERO_SHOT} ORDER BY benchmark, recipe")
    if not rows:
        return []
    recipes = sorted({row["recipe"] for row in rows})
    lines = []
    for benchmark, of in groupby(rows, key=lambda row: row["benchmark"]):
        by_recipe = {row["recipe"]: row for row in of}
        one = next(iter(by_recipe.values()))
        said = f"{figure(one['samples'])} pictures, {figure(one['classes'])} classes"
        lines.append(
            [name(benchmark, note=said), _share(one["chance"]), *(_top1(by_recipe.get(recipe)) for recipe in recipes)]
        )
    note = "Share of pictures whose class scores highest, and its standard error. Chance is what guessing scores."
    return [
        Table(title="Zero-shot accuracy (top-1)", headings=["benchmark", "chance", *recipes], rows=lines, note=note)
    ]


def _top1(row: Row | None) -> Cell:
    return _share(None) if row is None else _share(row["top1"], note=f"± {percents(row['standard_error'])}")


def _retrieval(lake: Material) -> list[Block]:
    rows = lake.rows(f"FROM {_RETRIEVAL} ORDER BY benchmark, recipe")
    ranks = (1, 5, 10)
    lines = [
        [
            name(row["benchmark"], note=f"{figure(row['images'])} pictures, {figure(row['captions'])} captions"),
            name(row["recipe"]),
            *(_share(row[f"image_recall_at_{k}"]) for k in ranks),
            *(_share(row[f"text_recall_at_{k}"]) for k in ranks),
        ]
        for row in rows
    ]
    headings = ["benchmark", "recipe"]
    headings += [f"{found} @{k}" for found in ("picture", "caption") for k in ranks]
    note = "Share of captions whose picture, and of pictures one of whose captions, is among the first 1, 5, 10 found."
    return [Table(title="Retrieval (recall)", headings=headings, rows=lines, note=note)] if lines else []


def shift(lake: Material, drawn: Sequence[str]) -> list[Block]:
    """Accuracy under shift beside accuracy in distribution, of the recipes that are drawn as plots, of all as table."""
    rows = lake.rows("FROM robustness ORDER BY benchmark, in_distribution_benchmark, recipe, epoch")
    return [Heading(text="Under shift"), accuracy_under_shift(rows, drawn), _shift_table(rows)] if rows else []


def _shift_table(rows: Sequence[Row]) -> Table:
    reasons = sorted({row["reason"] for row in rows if row["reason"]})
    columns: Columns = {
        "benchmark": lambda row: name(row["benchmark"]),
        "recipe": lambda row: name(row["recipe"]),
        "accuracy under shift": lambda row: _interval("shifted_accuracy", "shifted", row),
        "in distribution": lambda row: _interval(
            "in_distribution_accuracy", "in_distribution", row, note=row["in_distribution_benchmark"]
        ),
        "effective robustness": lambda row: _beyond(row, why=len(reasons) > 1),
    }
    note = "With 95% intervals, those of the plots. The dashed lines are equal accuracy."
    if len(reasons) == 1:
        note += f" Effective robustness is {reasons[0]}."
    elif not reasons:
        note += " Effective robustness is accuracy beyond what the other recipes let expect."
    return table_of("Accuracy under shift, beside accuracy in distribution", rows, columns, note=note)


def _interval(column: str, ends: str, row: Row, note: str = "") -> Cell:
    said = f"{percents(row[f'{ends}_low'])} to {percents(row[f'{ends}_high'])}"
    return _share(row[column], note=f"{said}, {note}" if note else said)


def _beyond(row: Row, *, why: bool) -> Cell:
    if row["effective_robustness"] is None:
        return _share(None, note=row["reason"] if why else "")
    points, low, high = (100 * row[column] for column in ("effective_robustness", "ci_low", "ci_high"))
    signed = f"{points:+.1f} points".replace("-", "−")
    return Cell(text=signed, kind="number", note=f"{low:+.1f} to {high:+.1f}".replace("-", "−"))


def scaling(lake: Material) -> list[Block]:
    """Error against compute, with a law where there is enough for one, and why not elsewhere."""
    laws = lake.rows("FROM scaling_laws ORDER BY benchmark, arm")
    points = lake.rows(f"""
        SELECT benchmark, arm, recipe, compute, error FROM (
            SELECT benchmark, arm, recipe, compute, 1 - top1 AS error FROM {_ZERO_SHOT} UNION ALL
            SELECT benchmark, arm, recipe, compute, 1 - (image_recall_at_1 + text_recall_at_1) / 2 FROM {_RETRIEVAL})
        WHERE compute > 0 AND error > 0""")
    if not laws or not points:
        return []
    fitted = [law for law in laws if law["error_model"] is not None]
    return [Heading(text="Error by compute"), error_by_compute(points, laws), *_laws(fitted), *_without_law(laws)]


def _laws(laws: Sequence[Row]) -> list[Block]:
    columns: Columns = {
        "benchmark": lambda law: name(law["benchmark"]),
        "arm": lambda law: foreign(law["arm"]),
        "exponent": lambda law: number(law["exponent"], note=f"{figure(law['ci_low'])} to {figure(law['ci_high'])}"),
        "coefficient": lambda law: Cell(text=rounded(law["coefficient"]), kind="number"),
        "floor": lambda law: number(law["intercept"]),
        "R²": lambda law: number(law["r_squared"]),
        "amounts of compute": lambda law: number(
            law["points"], note=f"{figure(law['recipes'])} recipes, {figure(law['seeds'])} seeds"
        ),
    }
    note = "Error = coefficient × compute^−exponent, plus a floor where one was fitted; the 95% interval is below it."
    return [table_of("Scaling laws", laws, columns, note=note)] if laws else []


def _without_law(laws: Sequence[Row]) -> list[Block]:
    """Why no law was fitted, said once for all benchmarks of an arm."""
    why: dict[tuple[str, str], list[str]] = {}
    for law in laws:
        if law["error_model"] is None:
            why.setdefault((law["arm"], law["reason"] or ""), []).append(law["benchmark"])
    lines = [
        [foreign(arm), foreign(reason), number(len(of), note=cut(", ".join(of), 60))]
        for (arm, reason), of in sorted(why.items())
    ]
    if not lines:
        return []
    note = "Dotted lines join the measured errors and are no law."
    headings = ["arm", "why", "benchmarks"]
    return [Table(title="Where no scaling law was fitted", headings=headings, rows=lines, note=note)]


def _share(value: float | None, *, note: str = "") -> Cell:
    return Cell(text=percent(None) if value is None else percents(value), kind="number", note=note)
