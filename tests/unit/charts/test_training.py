"""Charts of learning: what epochs tell of is drawn, and nothing else."""

from xml.etree import ElementTree

from laion_assets.charts.training import training_curves


def epochs(**more):
    return [{"recipe": "a", "samples_seen": 100 * n, "loss": 4.0 / n, **more} for n in (1, 2, 3)]


def test_loss_is_drawn_and_what_else_the_epochs_tell_of():
    assert [plot.title for plot in training_curves(epochs(), ["a"]).plots] == ["Loss by samples seen"]
    all_told = training_curves(epochs(learning_rate=1e-3, samples_per_second=500.0), ["a"])
    assert [plot.title.removesuffix(" by samples seen") for plot in all_told.plots] == [
        "Loss", "Learning rate", "Samples a second",
    ]  # fmt: skip
    for plot in all_told.plots:
        assert (
            len([c for c in ElementTree.fromstring(str(plot.svg)).iter("circle") if c.find("title") is not None]) == 3
        )


def test_rate_and_throughput_begin_at_0_and_a_loss_near_its_least():
    loss, rate, _ = training_curves(epochs(learning_rate=1e-3, samples_per_second=500.0), ["a"]).plots
    numbers = [{t.text for t in ElementTree.fromstring(str(plot.svg)).iter("text")} for plot in (loss, rate)]
    assert "0" not in numbers[0]
    assert "0" in numbers[1]


def test_recipes_that_are_not_asked_for_are_left_out():
    rows = [*epochs(), {"recipe": "b", "samples_seen": 5, "loss": 1.0}]
    chart = training_curves(rows, ["b"])
    assert chart.legend == (("c0", "b"),)
    assert chart.plots[0].description == "b"
