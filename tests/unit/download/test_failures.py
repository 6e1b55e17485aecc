import pytest

from laion_assets.download.failures import Failure, failure_of_message, failure_of_status, is_transient


@pytest.mark.parametrize(
    ("failure", "status", "expected"),
    [
        (None, 200, False),
        ("dns", None, True),
        ("connect", None, True),
        ("timeout", None, True),
        ("http_5xx", 500, True),
        ("http_4xx", 404, False),
        ("http_4xx", 429, True),
        ("http_4xx", 408, True),
        ("decode", 200, False),
        ("opted_out", 200, False),
        ("hash_listed", 200, False),
        ("other", None, False),
    ],
)
def test_which_failures_are_attempted_again(failure, status, expected):
    assert is_transient(failure, status) is expected


def test_an_unknown_failure_is_an_error():
    with pytest.raises(ValueError, match="gremlins"):
        is_transient("gremlins")


@pytest.mark.parametrize(
    ("message", "resizing", "expected"),
    [
        ("timeout", False, Failure.TIMEOUT),
        ("Image decoding error", True, Failure.DECODE),
        ("image too small", True, Failure.TOO_SMALL),
        ("image area too large", True, Failure.TOO_LARGE),
        ("aspect ratio too large", True, Failure.ASPECT),
        ("OpenCV(4.14.0) error: (-215:Assertion failed)", True, Failure.DECODE),
        ("hash mismatch", False, Failure.OTHER),
    ],
)
def test_what_img2dataset_says_becomes_a_type(message, resizing, expected):
    assert failure_of_message(message, resizing=resizing) is expected


# RFC 9110, section 15: what is beyond 599 is treated like a 5xx.
@pytest.mark.parametrize(
    ("status", "expected"), [(404, "http_4xx"), (503, "http_5xx"), (304, "other"), (999, "http_5xx")]
)
def test_failure_of_a_status(status, expected):
    assert failure_of_status(status) == expected
