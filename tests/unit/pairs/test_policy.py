"""Policies are what was published, and what is changed in them is said in their name."""

import pytest

from laion_assets.pairs.policy import POLICIES, FilterOptions, Policy, policy_named


def test_the_published_policy_of_laion() -> None:
    assert FilterOptions().resolve() == Policy(name="laion", min_text_length=5, min_bytes=5000, use_similarity=True)


def test_the_policy_none_has_no_bounds() -> None:
    assert FilterOptions(policy="none").resolve() == Policy(name="none")


def test_a_changed_bound_shows_in_the_name() -> None:
    policy = FilterOptions(min_bytes=0, min_side=16, max_aspect_ratio=3.0, drop_markup=True).resolve()
    assert policy.name == "laion+min_bytes=0+min_side=16+max_aspect_ratio=3.0+drop_markup=True"
    assert (policy.min_bytes, policy.min_side, policy.max_aspect_ratio, policy.drop_markup) == (0, 16, 3.0, True)
    assert policy.min_text_length == 5


def test_an_option_that_changes_nothing_does_not_show() -> None:
    assert FilterOptions(min_bytes=5000).resolve() == POLICIES["laion"]


def test_thresholds_are_those_that_were_given() -> None:
    assert FilterOptions(threshold_en=0.3, threshold_nolang=0.0).thresholds == {"en": 0.3, "nolang": 0.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "best"}, "policy must be one of none, laion, laion_clean, got 'best'"),
        ({"min_bytes": -1}, "min_bytes must be 0 or more, got -1"),
        ({"max_aspect_ratio": 0.5}, "max_aspect_ratio must be 1 or more, got 0.5"),
        ({"max_aspect_ratio": float("nan")}, "max_aspect_ratio must be 1 or more, got nan"),
        ({"max_punsafe": 45.0}, "max_punsafe must be a probability from 0 to 1, got 45.0"),
        ({"max_pwatermark": -0.1}, "max_pwatermark must be a probability from 0 to 1, got -0.1"),
        ({"min_aesthetic": float("nan")}, "min_aesthetic must be a number, got nan"),
        ({"threshold_en": 28.0}, "threshold_en must be a cosine from -1 to 1, got 28.0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FilterOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        FilterOptions(),
        FilterOptions(policy="none"),
        FilterOptions(policy="laion_clean", drop_file_names=False, drop_markup=False),
        FilterOptions(max_punsafe=0.45, max_pwatermark=0.5, min_aesthetic=5.0),
        FilterOptions(min_text_length=0, min_bytes=0, min_side=16, max_aspect_ratio=3.0, drop_markup=True),
    ],
)
def test_a_policy_is_known_by_its_name(options: FilterOptions) -> None:
    assert policy_named(options.resolve().name) == options.resolve()


@pytest.mark.parametrize("name", ["best", "laion+colour=red", "laion+name=other", "laion+min_bytes=many", ""])
def test_a_name_that_no_policy_has_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"best|colour|other|many|got ''"):
        policy_named(name)
