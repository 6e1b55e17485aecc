"""Quantities of any size as people read them: with a unit that fits.

What is estimated has three digits at most; what was counted or measured has all its digits, or those after the point
that make a column of such figures easy to compare.
"""

_COUNTS = (("", 1.0), (" k", 1e3), (" M", 1e6), (" G", 1e9), (" T", 1e12))
_BYTES = (("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12), ("PB", 1e15))
_BITS = (("bit/s", 1.0), ("kbit/s", 1e3), ("Mbit/s", 1e6), ("Gbit/s", 1e9), ("Tbit/s", 1e12))
_SECONDS = (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0))
TIMES = (("s", 1.0), ("min", 60.0), ("h", 3_600.0))
"""Units of time, with their seconds."""

_WHOLE_BELOW = 10_000
_UNITS_OF_ONE = 1.5
"""Of how much of a unit on it is used: 80 s are said to be 80 s, and 100 s 1.67 min."""


def digits(value: float) -> str:
    """A number in three digits; what is too small to be seen beside 1 is said to be so."""
    if 0 < value < 0.01:
        return "<0.01"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def number(value: float) -> str:
    """``1.23 M``: three digits, and what they stand for. Below 10,000 whole numbers are whole."""
    if abs(value) < _WHOLE_BELOW and value == int(value):
        return f"{value:,.0f}"
    if 0 < value < 0.01:
        return f"{_rounded(value):.6f}".rstrip("0") if value >= 0.0001 else f"{value:.2g}"
    return _scaled(value, _COUNTS, least=10) if value >= _WHOLE_BELOW else digits(value)


def count(value: float) -> str:
    """How many there will be, as far as one can know: whole below 10,000, and one if it may be less."""
    return number(value if value >= _WHOLE_BELOW or value == 0 else max(1, round(value)))


def byte_size(value: float) -> str:
    """Bytes that are estimated, decimal units."""
    return f"{value:.0f} B" if value < 1000 else _scaled(value, _BYTES, " ")


def rate(bits: float) -> str:
    """Bits a second."""
    return _scaled(bits, _BITS, " ")


def short_duration(value: float) -> str:
    """A duration that may be short: seconds and their parts."""
    return f"{digits(value)} s" if value >= 1 or value == 0 else _scaled(value, _SECONDS, " ")


def duration(hours: float) -> str:
    """A duration that may be long: seconds, minutes, hours, or days."""
    if hours >= 72:
        return f"{digits(hours / 24)} days"
    unit, length = time_unit(hours)
    return f"{digits(hours * 3_600 / length)} {'hours' if unit == 'h' else unit}"


def time_unit(hours: float) -> tuple[str, float]:
    """The unit that fits a duration, and its seconds; hours for none at all."""
    if hours == 0:
        return TIMES[-1]
    return next(
        ((unit, length) for unit, length in reversed(TIMES) if hours * 3_600 >= _UNITS_OF_ONE * length), TIMES[0]
    )


def money(value: float) -> str:
    """An amount in the cents that there are; the rest of one is less than that."""
    if value == 0 or value >= 100:
        return f"{value:,.0f}"
    return "<0.01" if value < 0.005 else f"{value:,.2f}"


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _scaled(value: float, units: tuple[tuple[str, float], ...], space: str = "", least: float = 1) -> str:
    value = _rounded(value)
    unit, factor = next((u for u in reversed(units) if value >= u[1] * (least if u[1] == 1e3 else 1)), units[0])
    return f"{digits(value / factor)}{space}{unit}"


def measured_bytes(value: float) -> str:
    """Bytes that were measured, decimal units: ``1.5 GB``."""
    for unit, _ in _BYTES:
        if value < 1000 or unit == "PB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def counted(count: int, what: str) -> str:
    """``1 row``, ``1,234 rows``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def percent(value: float | None) -> str:
    """A share from 0 to 1 as percent; what is not nothing never looks like nothing."""
    if value is None:
        return "–"
    if 0 < value < 0.001:
        return "< 0.1%"
    return f"{value:.1%}"


def figure(value: float | None, decimals: int = 3) -> str:
    """A number as people read it: 12,092 and 0.505."""
    if value is None:
        return "–"
    return (f"{value:,}" if isinstance(value, int) else f"{value:,.{decimals}f}").replace("-", "−")
