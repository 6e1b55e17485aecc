"""What checkpoints score: on benchmarks, under shift, and by how much compute was spent on them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from laion_assets.charts.svg import Axis, Mark, Series, axis, chart
from laion_assets.common.quantities import figure, percent
from laion_assets.evaluation.scaling import predicted_error
from laion_assets.report.blocks import Block, Cell, Heading, Plot, Plots, Table, foreign, name, number
from laion_assets.report.blocks import shown as cut
from laion_assets.report.material import Material, Row

_MOST_PANELS = 12
_TONES = 8
_CURVE_POINTS = 40
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
    return _share(None) if row is None else _share(row["top1"], note=f"± {_percents(row['standard_error'])}")


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


def shift(lake: Material, tones: Mapping[str, str]) -> list[Block]:
    """Accuracy under shift beside accuracy in distribution, of recipes that have a colour as plots, of all as table."""
    rows = lake.rows("FROM robustness ORDER BY benchmark, in_distribution_benchmark, recipe, epoch")
    if not rows:
        return []
    panels = [
        _panel(key, list(of), tones)
        for key, of in groupby(
            (row for row in rows if row["recipe"] in tones),
            key=lambda row: (row["benchmark"], row["in_distribution_benchmark"]),
        )
    ]
    legend = tuple((tone, recipe) for recipe, tone in tones.items() if any(r["recipe"] == recipe for r in rows))
    heading = Heading(text="Under shift")
    return [heading, Plots(plots=panels[:_MOST_PANELS], legend=legend), _shift_table(rows)]


def _panel(key: tuple[str, str], rows: Sequence[Row], tones: Mapping[str, str]) -> Plot:
    benchmark, own = key
    low_high = ("in_distribution_low", "in_distribution_high", "shifted_low", "shifted_high")
    ends = [row[column] for row in rows for column in low_high]
    series = [
        Series(
            tone=tones[row["recipe"]],
            marks=[
                Mark(
                    x=row["in_distribution_accuracy"],
                    y=row["shifted_accuracy"],
                    across=(row["in_distribution_low"], row["in_distribution_high"]),
                    along=(row["shifted_low"], row["shifted_high"]),
                    said=f"{row['recipe']}: {_percents(row['in_distribution_accuracy'])} on {own}, "
                    f"{_percents(row['shifted_accuracy'])} on {benchmark}",
                )
            ],
        )
        for row in rows
    ]
    said = f"Accuracy on {benchmark} against accuracy on {own}"
    x = axis(ends, f"accuracy on {cut(own, 40)}", "logit")
    y = axis(ends, f"accuracy on {cut(benchmark, 40)}", "logit")
    svg = chart(said, ", ".join(row["recipe"] for row in rows), series, x=x, y=y, equal=True)
    return Plot(svg=svg, caption=f"{benchmark}, shifted from {own}.")


def _shift_table(rows: Sequence[Row]) -> Table:
    reasons = sorted({row["reason"] for row in rows if row["reason"]})
    lines = [
        [
            name(row["benchmark"]),
            name(row["recipe"]),
            _interval("shifted_accuracy", "shifted", row),
            _interval("in_distribution_accuracy", "in_distribution", row, note=row["in_distribution_benchmark"]),
            _beyond(row, why=len(reasons) > 1),
        ]
        for row in rows
    ]
    headings = ["benchmark", "recipe", "accuracy under shift", "in distribution", "effective robustness"]
    note = "With 95% intervals, those of the plots. The dashed lines are equal accuracy."
    if len(reasons) == 1:
        note += f" Effective robustness is {reasons[0]}."
    elif not reasons:
        note += " Effective robustness is accuracy beyond what the other recipes let expect."
    return Table(
        title="Accuracy under shift, beside accuracy in distribution", headings=headings, rows=lines, note=note
    )


def _interval(column: str, ends: str, row: Row, note: str = "") -> Cell:
    said = f"{_percents(row[f'{ends}_low'])} to {_percents(row[f'{ends}_high'])}"
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
        WHERE compute > 0 AND error > 0 ORDER BY benchmark, arm, compute, recipe""")
    if not laws or not points:
        return []
    arms = sorted({row["arm"] for row in points})
    tones = {arm: f"c{place % _TONES}" for place, arm in enumerate(arms)}
    fitted = {(law["benchmark"], law["arm"]): law for law in laws if law["error_model"] is not None}
    by_benchmark = [(key, list(of)) for key, of in groupby(points, key=lambda row: row["benchmark"])]
    panels = [_law_panel(benchmark, of, fitted, tones) for benchmark, of in by_benchmark[:_MOST_PANELS]]
    legend = tuple((tone, arm) for arm, tone in tones.items())
    heading = Heading(text="Error by compute")
    return [heading, Plots(plots=panels, legend=legend), *_laws(list(fitted.values())), *_without_law(laws)]


def _law_panel(
    benchmark: str, rows: Sequence[Row], fitted: Mapping[tuple[str, str], Row], tones: Mapping[str, str]
) -> Plot:
    series = []
    for arm, of in groupby(rows, key=lambda row: row["arm"]):
        mine = list(of)
        law = fitted.get((benchmark, arm))
        marks = [
            Mark(
                x=row["compute"],
                y=row["error"],
                said=f"{row['recipe']}: error {figure(row['error'])} at {rounded(row['compute'])} GMACs",
            )
            for row in mine
        ]
        line = _curve(law) if law else _means(mine)
        series.append(Series(tone=tones[arm], marks=marks, line=line, dotted=law is None))
    drawn = [y for one in series for _, y in one.line] + [row["error"] for row in rows]
    x = axis((row["compute"] for row in rows), "compute in GMACs", "log", least=0.6)
    title = f"Error on {benchmark} against compute"
    svg = chart(title, ", ".join(sorted({row["recipe"] for row in rows})), series, x=x, y=_error_axis(drawn))
    return Plot(svg=svg, caption=f"Error on {benchmark}.")


def _error_axis(values: Sequence[float]) -> Axis:
    """No error is above 1, and no number of the axis."""
    found = axis(values, "error", "log")
    return replace(found, high=min(found.high, 0.001))


def _curve(law: Row) -> list[tuple[float, float]]:
    compute = np.geomspace(law["compute_min"], law["compute_max"], _CURVE_POINTS)
    error = predicted_error(
        compute, coefficient=law["coefficient"], exponent=law["exponent"], intercept=law["intercept"]
    )
    return list(zip(compute.tolist(), error.tolist(), strict=True))


def _means(rows: Sequence[Row]) -> list[tuple[float, float]]:
    """Geometric means of the errors of each amount of compute."""
    by_compute = [(x, [row["error"] for row in of]) for x, of in groupby(rows, key=lambda row: row["compute"])]
    return [(x, float(np.exp(np.log(errors).mean()))) for x, errors in by_compute]


def _laws(laws: Sequence[Row]) -> list[Block]:
    lines = [
        [
            name(law["benchmark"]),
            foreign(law["arm"]),
            number(law["exponent"], note=f"{figure(law['ci_low'])} to {figure(law['ci_high'])}"),
            Cell(text=rounded(law["coefficient"]), kind="number"),
            number(law["intercept"]),
            number(law["r_squared"]),
            number(law["points"], note=f"{figure(law['recipes'])} recipes, {figure(law['seeds'])} seeds"),
        ]
        for law in laws
    ]
    headings = ["benchmark", "arm", "exponent", "coefficient", "floor", "R²", "amounts of compute"]
    note = "Error = coefficient × compute^−exponent, plus a floor where one was fitted; the 95% interval is below it."
    return [Table(title="Scaling laws", headings=headings, rows=lines, note=note)] if lines else []


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


def rounded(value: float | None) -> str:
    """An amount of any size in few characters."""
    if value is None:
        return "–"
    if 1e-3 <= abs(value) < 1e7 or value == 0:
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    mantissa, power = f"{value:.2e}".split("e")
    return f"{mantissa}·10{str(int(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def _percents(value: float) -> str:
    """A share as percent, to a hundredth below one in ten: models near chance differ there."""
    return f"{value:.2%}" if 0 < value < 0.1 else f"{value:.1%}"


def _share(value: float | None, *, note: str = "") -> Cell:
    return Cell(text=percent(None) if value is None else _percents(value), kind="number", note=note)
