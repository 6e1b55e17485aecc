"""TDMRep: the examples of its specification."""

import json

import pytest

from laion_assets.consent.tdmrep import TdmRep, TdmRepError, reservation

FILE = [
    {"location": "/", "tdm-reservation": 0},
    {
        "location": "/directory-a/html/",
        "tdm-reservation": 1,
        "tdm-policy": "https://provider.example/policies/policy.json",
    },
]
ORDERED = [
    {"location": "/directory-a/images/*.jpg", "tdm-reservation": 1},
    {"location": "/directory-a/*.html$", "tdm-reservation": "1"},
    {"location": "/directory-b/images", "tdm-reservation": 1},
    {"location": "/directory-b/", "tdm-reservation": 0},
]


@pytest.mark.parametrize(
    ("path", "reserved"),
    [
        ("/directory-a/images/x/a.jpg", True),
        ("/directory-a/x.html", True),
        ("/directory-a/x.html?y", None),
        ("/directory-b/images/a.png", True),
        ("/directory-b/a.png", False),
        ("/other", None),
    ],
)
def test_the_first_location_that_matches_holds(path: str, reserved: bool | None) -> None:
    said = TdmRep.read(json.dumps(ORDERED).encode()).said(f"https://h.example{path}")
    assert [one.forbids == ("train",) for one in said] == ([] if reserved is None else [reserved])


def test_the_sequence_decides_and_not_the_length() -> None:
    [said] = TdmRep.read(json.dumps(FILE).encode()).said("https://h.example/directory-a/html/x.jpg")
    assert said.allows
    [said] = TdmRep.read(json.dumps(FILE[::-1]).encode()).said("https://h.example/directory-a/html/x.jpg")
    assert "policy.json" in said.raw
    assert said.forbids == ("train",)


@pytest.mark.parametrize("body", [b"", b"<html>", b"3", b'"x"', b"[" * 100_000])
def test_what_is_no_list_of_rules_is_named(body: bytes) -> None:
    with pytest.raises(TdmRepError, match="expected"):
        TdmRep.read(body)


def test_what_is_near_a_list_of_rules_is_read() -> None:
    rule = {"location": "/", "tdm-reservation": 1}
    for found in (rule, [rule, 3, {"tdm-reservation": 1}, {"location": 4}]):
        assert TdmRep.read(b"\xef\xbb\xbf" + json.dumps(found).encode()).said("http://h/a")[0].forbids == ("train",)


@pytest.mark.parametrize(
    ("values", "reserved"),
    [
        (["1"], True),
        (['"1"'], True),
        (["0"], False),
        (["1, 1"], True),
        (["0", "1"], True),
        (["2"], None),
        (["true"], None),
        ([], None),
    ],
)
def test_only_nought_and_one_say_anything(values: list[str], reserved: bool | None) -> None:
    said = reservation("tdm_header", values)
    assert [one.forbids == ("train",) for one in said] == ([] if reserved is None else [reserved])


@pytest.mark.parametrize(
    "rule",
    [
        {"location": "/", "tdm-reservation": True},
        {"location": "/", "tdm-reservation": 1.0},
        {"Location": "/", "TDM-Reservation": 1},
        {"location": "https://h.example/", "tdm-reservation": 1},
    ],
)
def test_a_reservation_is_heard_however_it_is_written(rule: dict[str, object]) -> None:
    for body in (json.dumps([rule]).encode(), b"\xff\xfe" + json.dumps([rule]).encode("utf-16-le")):
        assert TdmRep.read(body).said("https://h.example/a.jpg")[0].forbids == ("train",)


def test_half_a_character_in_a_policy_can_be_stored() -> None:
    body = b'[{"location": "/", "tdm-reservation": 1, "tdm-policy": "\\ud800"}, {"location": "/\\udfff"}]'
    said = TdmRep.read(body).said("https://h.example/a.jpg")
    assert said[0].raw.encode()
