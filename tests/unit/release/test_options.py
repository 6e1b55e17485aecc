"""What is asked for of a release, and that one which was begun stays what it is."""

from pathlib import Path

import pytest

from laion_assets.release.options import Release, ReleaseOptions, checked_name, usual_terms
from laion_assets.release.parts import ReleaseError
from laion_assets.release.place import open_place
from laion_assets.release.writers import format_named, format_names, formats_of
from tests.unit.release.made import CRAWL, release, row

BEGUN = release("some", {(CRAWL, 1): [row(1)]}, Path("/there"))


def test_what_is_asked_for_comes_back_from_its_text() -> None:
    options = ReleaseOptions(
        source="scored_pairs", selection="text = 'ä \"b\"'", formats=("laion",), has_pictures=False
    )
    assert ReleaseOptions.of_text(options.to_text()) == options
    for wrong in ("", "[]", '{"colour": 1}'):
        with pytest.raises(ReleaseError, match="no request for a release"):
            ReleaseOptions.of_text(wrong)


def test_a_release_comes_back_from_its_row() -> None:
    assert Release.of_row(BEGUN.to_row() | {"release": "some"}) == BEGUN


def test_what_is_not_said_is_as_the_release_was_begun() -> None:
    usual = usual_terms("some", ReleaseOptions())
    assert ReleaseOptions().terms("some", usual, BEGUN.terms) == BEGUN.terms
    assert ReleaseOptions(selection="true", formats=("laion",)).terms("some", usual, BEGUN.terms) == BEGUN.terms


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (ReleaseOptions(selection="false"), "--where 'true', not 'false'"),
        (ReleaseOptions(formats=("laion", "croissant")), "--formats laion, not laion,croissant"),
        (ReleaseOptions(has_pictures=True), "--pictures no, not yes"),
        (ReleaseOptions(destination="/elsewhere"), "--to '/there', not '/elsewhere'"),
    ],
)
def test_another_release_of_the_same_name_is_refused(options: ReleaseOptions, said: str) -> None:
    with pytest.raises(ReleaseError, match="never changes, choose another name") as refused:
        options.terms("some", usual_terms("some", options), BEGUN.terms)
    assert said in str(refused.value)


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "a=b", "a b", "x" * 101])
def test_what_cannot_be_a_folder_cannot_be_a_name(name: str) -> None:
    with pytest.raises(ReleaseError, match="can name a release"):
        checked_name(name)
    assert checked_name("v1.0-en_small") == "v1.0-en_small"


@pytest.mark.parametrize("address", ["", "gs://bucket/x", "s3://", "https://example.org/x", "s3://key:secret@bucket/x"])
def test_a_release_lies_in_a_folder_or_a_bucket(address: str) -> None:
    with pytest.raises(ReleaseError) as refused:
        open_place(address)
    assert "secret" not in str(refused.value)


def test_every_format_is_known_by_the_name_it_gives_itself() -> None:
    assert [format_named(name).name for name in format_names()] == [*format_names()]


@pytest.mark.parametrize(
    ("names", "said"),
    [(["nix"], "no format 'nix'; those that there are: laion"), ([], "needs a format"), (["webdataset"], "--pictures")],
)
def test_formats_that_cannot_be_are_refused(names: list[str], said: str) -> None:
    with pytest.raises(ReleaseError, match=said):
        formats_of(names, pictures=False)
