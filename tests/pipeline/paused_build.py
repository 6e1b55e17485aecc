"""``laion`` with a place where it stops, so that a test can kill it or overtake it exactly there.

``python paused_build.py MODULE:FUNCTION before|after CALL MARKER ARGUMENT...`` runs ``laion ARGUMENT...``. At the
CALL-th call of the function the file MARKER appears, and the process goes on once there is a file MARKER.go.
"""

import importlib
import sys
import time
from pathlib import Path
from typing import Any


def install(target: str, when: str, call: int, marker: Path) -> None:
    module, name = target.split(":")
    owner: Any = importlib.import_module(module)
    real = getattr(owner, name)
    calls = 0

    def stop() -> None:
        marker.touch()
        while not marker.with_name(f"{marker.name}.go").exists():
            time.sleep(0.01)

    def paused(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and when == "before":
            stop()
        result = real(*args, **options)
        if calls == call and when == "after":
            stop()
        return result

    setattr(owner, name, paused)


if __name__ == "__main__":
    install(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
    sys.argv = ["laion", *sys.argv[5:]]
    from laion_assets.cli import main

    main()
