"""The clock of this process, as Python sees it, at another time."""

import datetime as dates
import sys
import time

_jumped = 0.0
_time, _time_ns = time.time, time.time_ns


class _Moved(dates.datetime):
    @classmethod
    def now(cls, tz: dates.tzinfo | None = None) -> "_Moved":
        return cls.fromtimestamp(_time() + _jumped, tz)

    @classmethod
    def utcnow(cls) -> "_Moved":
        return cls.now(dates.UTC).replace(tzinfo=None)


def shift_clock(seconds: float) -> None:
    """Let the clock jump, for everything of ours that asks it from now on; libraries in C and Rust have their own."""
    global _jumped
    _jumped += seconds
    time.time = lambda: _time() + _jumped
    time.time_ns = lambda: _time_ns() + int(_jumped * 1e9)
    for name, module in list(sys.modules.items()):
        if name.startswith("laion_assets") and getattr(module, "datetime", None) is dates.datetime:
            setattr(module, "datetime", _Moved)  # noqa: B010
