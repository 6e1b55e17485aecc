"""Figures of any size are three digits and a unit that people know."""

import pytest

from laion_assets.common.quantities import (
    byte_size,
    count,
    counted,
    duration,
    measured_bytes,
    money,
    number,
    percent,
    rate,
    short_duration,
)


@pytest.mark.parametrize(
    ("show", "value", "shown"),
    [
        (number, 0, "0"),
        (number, 0.5, "0.5"),
        (number, 0.0004, "0.0004"),
        (number, 9_999, "9,999"),
        (number, 17_600, "17.6 k"),
        (number, 999_999, "1 M"),
        (number, 999_999_999, "1 G"),
        (number, 5.85e9, "5.85 G"),
        (count, 0, "0"),
        (count, 0.3, "1"),
        (count, 2.61, "3"),
        (count, 1_324.4, "1,324"),
        (byte_size, 0, "0 B"),
        (byte_size, 312, "312 B"),
        (byte_size, 300_000, "300 kB"),
        (byte_size, 999_999, "1 MB"),
        (byte_size, 1.07e15, "1.07 PB"),
        (rate, 40, "40 bit/s"),
        (rate, 12.3e6, "12.3 Mbit/s"),
        (rate, 4e9, "4 Gbit/s"),
        (short_duration, 1 / 1500, "667 µs"),
        (short_duration, 0.0123, "12.3 ms"),
        (short_duration, 5_467, "5,467 s"),
        (duration, 0.00003, "0.108 s"),
        (duration, 0.0021, "7.56 s"),
        (duration, 0.5, "30 min"),
        (duration, 5.25, "5.25 hours"),
        (duration, 2_400, "100 days"),
        (money, 0, "0"),
        (money, 0.0004, "<0.01"),
        (money, 0.02, "0.02"),
        (money, 11_183.4, "11,183"),
    ],
)
def test_a_quantity_is_short_and_has_a_fitting_unit(show, value, shown):
    assert show(value) == shown


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0, "0.0%"), (0.0004, "< 0.1%"), (0.5, "50.0%"), (1, "100.0%")]
)
def test_shares_are_percent_and_something_is_never_nothing(value, text):
    assert percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (5_000, "5.0 kB"), (2_400_000, "2.4 MB"), (3.25e18, "3250.0 PB")],
)
def test_bytes_have_units(value, text):
    assert measured_bytes(value) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (12_345, "12,345 rows")])
def test_one_of_a_kind_is_one(value, text):
    assert counted(value, "row") == text
