"""What the page says of training: the tables' own numbers, reasons where there are none, names that stay names."""

from xml.etree import ElementTree

import pytest
from selectolax.lexbor import LexborHTMLParser

from laion_assets.charts.axes import rounded
from laion_assets.charts.drawing import Chart
from laion_assets.consent.removals import Removals
from laion_assets.report.blocks import Note, Section, Table
from laion_assets.report.material import Material
from laion_assets.report.page import ReportOptions, render
from laion_assets.report.training import training
from tests.unit.report.conftest import lines
from tests.unit.report.test_page import AT, HOSTILE
from tests.unit.report.trained import LONG, OTHER, SEEN, SHORT, trained


@pytest.fixture
def material(con) -> Material:
    return Material(con=con, removals=Removals.none().matcher())


def table(blocks, title):
    return next(block for block in blocks if isinstance(block, Table) and title in block.title)


def plots(blocks, title):
    """The SVGs under plots whose first one is called so, parsed."""
    for block in blocks:
        if isinstance(block, Chart) and title in str(block.plots[0].svg):
            return [ElementTree.fromstring(str(plot.svg)) for plot in block.plots]
    return []


def said(root):
    return [circle.find("title").text for circle in root.iter("circle")]


def test_nothing_trained_is_one_line(material):
    (note,) = training(material)
    assert isinstance(note, Note)
    assert note.command == "laion train"


def test_a_training_set_without_checkpoints_shows_what_it_left_out(material, fill):
    rows = {}
    trained(rows.__setitem__)
    for name in ("training_sets", "commits"):
        fill(name, rows[name])
    blocks = training(material)
    assert blocks[0].command == "laion train"
    assert [block.title for block in blocks if isinstance(block, Table)] == ["What became of selected pairs"]


def test_checkpoints_without_scores_say_how_to_measure_them(material, fill):
    trained(lambda name, rows: fill(name, rows) if name in ("training_sets", "clip_checkpoints") else None)
    blocks = training(material)
    assert "laion evaluate" in [block.command for block in blocks if isinstance(block, Note)]
    assert plots(blocks, "Loss")
    assert lines(table(blocks, "became"))[0][:3] == [LONG, "–", "12"]  # a lake whose commits say nothing


def test_recipes_say_what_they_learned_from_and_what_it_took(material, fill):
    trained(fill)
    found = table(training(material), "Trained recipes")
    assert lines(found) == [
        [LONG, "sample-rn", "scored_pairs", "1,024", "32,768", "1,024", "328", "3.000", "500 (1 x cpu)"],
        [SHORT, "sample-rn", "scored_pairs", "1,024", "4,096", "1,024", "41", "3.000", "500 (1 x cpu)"],
        [OTHER, "sample-rn", "scored_pairs", "1,024", "32,768", "1,024", "328", "3.000", "500 (1 x cpu)"],
    ]
    assert [row[2].note for row in found.rows] == ["released", "released", "similarity > 0.1"]


def test_loss_curves_have_a_mark_for_every_epoch(material, fill):
    trained(fill)
    (root,) = plots(training(material), "Loss by samples seen")
    assert said(root)[:2] == [f"{LONG}, 16,384 samples: loss 4.000", f"{LONG}, 32,768 samples: loss 3.000"]
    assert len(said(root)) == 2 * len(SEEN)


def test_accuracies_stand_beside_each_other_with_error_and_chance(material, fill):
    trained(fill)
    found = table(training(material), "Zero-shot")
    assert list(found.headings) == ["benchmark", "chance", LONG, SHORT, OTHER]
    assert lines(found) == [
        ["seen", "0.50%", "13.4% (± 1.00%)", "2.00% (± 1.00%)", "3.60% (± 1.00%)"],
        ["unseen", "0.50%", "9.20% (± 1.00%)", "0.0% (± 1.00%)", "10.4% (± 1.00%)"],
    ]


def test_a_score_of_weights_that_were_replaced_since_is_not_the_recipe_s(material, fill):
    rows = {}
    trained(rows.__setitem__)
    changed = [{**row, "sha256": "new"} if row["recipe"] == OTHER else row for row in rows["clip_checkpoints"]]
    for name in rows:
        fill(name, changed if name == "clip_checkpoints" else rows[name])
    blocks = training(material)
    assert list(table(blocks, "Zero-shot").headings) == ["benchmark", "chance", LONG, SHORT]
    assert [row[1] for row in lines(table(blocks, "Retrieval"))] == [LONG, SHORT]


def test_recall_is_shown_both_ways(material, fill):
    trained(fill)
    found = lines(table(training(material), "Retrieval"))
    assert found[0] == ["captions", LONG, "5.00%", "25.0%", "50.0%", "5.00%", "25.0%", "50.0%"]


def test_raw_accuracies_are_shown_where_effective_robustness_cannot_be_estimated(material, fill):
    trained(fill)
    blocks = training(material)
    found = table(blocks, "under shift")
    assert lines(found)[0] == ["unseen", LONG, "9.20% (7.36% to 11.4%)", "13.4% (10.7% to 16.1%, seen)", "–"]
    assert "Effective robustness is not estimable: 2 baseline models, 8 are needed." in found.note
    (root,) = plots(blocks, "Accuracy on unseen")
    assert said(root)[0] == f"{LONG}: 13.4% on seen, 9.20% on unseen"
    assert [line.get("class") for line in root.iter("polyline")].count("equal") == 1


def test_effective_robustness_is_in_points_with_its_interval(material, fill):
    rows = {}
    trained(rows.__setitem__)
    known = {"effective_robustness": -0.0123, "ci_low": -0.03, "ci_high": 0.004, "reason": None}
    rows["robustness"] = [{**row, **known} for row in rows["robustness"]]
    for name in rows:
        fill(name, rows[name])
    found = table(training(material), "under shift")
    assert lines(found)[0][-1] == "−1.2 points (−3.0 to +0.4)"
    assert "not estimable" not in found.note


def test_a_law_that_could_not_be_fitted_gives_its_reason_once_for_an_arm(material, fill):
    trained(fill)
    blocks = training(material)
    panels = plots(blocks, "against compute")
    assert len(panels) == 3
    assert f"{SHORT}: error 0.980 at 41 GMACs" in said(panels[1])
    assert {line.get("class") for root in panels for line in root.iter("polyline")} == {
        "line c0 dotted",
        "line c1 dotted",
    }
    assert lines(table(blocks, "no scaling law")) == [
        ["filtered", "not fitted: 2 compute points, 5 are needed", "3 (captions, seen, unseen)"],
        ["unfiltered", "not fitted: 1 compute points, 5 are needed", "3 (captions, seen, unseen)"],
    ]
    assert not [block for block in blocks if isinstance(block, Table) and block.title == "Scaling laws"]


def test_a_fitted_law_is_drawn_as_a_curve_and_told_in_numbers(material, fill):
    rows = {}
    trained(rows.__setitem__)
    law = {"error_model": "power law", "coefficient": 1.5, "exponent": 0.09, "ci_low": 0.08, "ci_high": 0.1}
    rows["scaling_laws"][0] |= {**law, "r_squared": 0.98, "seeds": 2, "reason": None}
    for name in rows:
        fill(name, rows[name])
    blocks = training(material)
    (found,) = lines(table(blocks, "Scaling laws"))
    assert found == ["seen", "filtered", "0.090 (0.080 to 0.100)", "1.5", "–", "0.980", "2 (2 recipes, 2 seeds)"]
    _, seen, _ = plots(blocks, "against compute")
    solid = [line for line in seen.iter("polyline") if line.get("class") == "line c0"]
    assert len(solid[0].get("points").split()) == 40
    assert sum(int(row[2].split()[0]) for row in lines(table(blocks, "no scaling law"))) == 5


def test_what_was_left_out_is_counted_by_reason(material, fill):
    trained(fill)
    blocks = training(material)
    found = table(blocks, "became of selected pairs")
    assert dict(zip(found.headings, lines(found)[0], strict=True)) == {
        "recipe": LONG,
        "pairs selected": "1,400",
        "copies of evaluation pictures": "12",
        "removed on request": "0",
        "less than a shard": "107",
        "duplicate id": "1",
        "learned from": "1,024",
        "validation": "256",
        "pictures: same file": "3",
        "pictures: same hash and colours": "9",
        "pictures: same hash, other colours": "292",
    }
    assert "12 pictures of 3 evaluation sets" in " ".join(b.text for b in blocks if isinstance(b, Note))


def test_recipes_beyond_the_colours_are_counted(material, fill):
    row = {"final": True, "loss": 1.0, "model": "m", "gmacs_per_sample": 1.0, "wall_seconds": 1.0, "epoch": 1}
    fill("training_sets", [{"recipe": "r00", "split": "train", "samples": 1}])
    fill("clip_checkpoints", [{"recipe": f"r{n:02}", "samples_seen": n + 1, **row} for n in range(11)])
    blocks = training(material)
    drawn = next(block for block in blocks if isinstance(block, Chart))
    assert [recipe for _, recipe in drawn.legend] == [f"r{n:02}" for n in range(3, 11)]
    assert "3 more are in the table" in drawn.plots[0].caption
    assert len(table(blocks, "Trained recipes").rows) == 11


def page_of(material) -> str:
    section = Section(id="training", title="Training", intro="", blocks=training(material))
    head = {"released": "1", "share": "2%", "counts": [], "crawls": [], "policies": [], "encoders": []}
    return render(name="lake", head=head, sections=[section], images={}, options=ReportOptions(), made_at=AT)


@pytest.mark.parametrize("text", HOSTILE)
def test_names_of_recipes_and_arms_stay_names(material, fill, text):
    trained(fill, {LONG: "calm"}, {LONG: "calm"})
    calm = LexborHTMLParser(page_of(material))
    trained(fill, {LONG: text}, {LONG: text})
    tree = LexborHTMLParser(page_of(material))
    assert sorted(node.tag for node in tree.css("*")) == sorted(node.tag for node in calm.css("*"))
    assert not [key for node in tree.css("*") for key in node.attributes if key.startswith("on")]


@pytest.mark.parametrize(
    ("amount", "text"), [(None, "–"), (0, "0"), (29.84, "29.8"), (238_706.2, "238,706"), (3.04e13, "3.04·10¹³")]
)
def test_amounts_of_any_size_are_short(amount, text):
    assert rounded(amount) == text
