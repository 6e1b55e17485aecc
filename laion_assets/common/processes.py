"""Child processes that end with the one that started them, and all that they started with them.

A process that is killed can end nobody: its children have to see to it. On Linux the kernel does, at once and whatever
the child is at (``PR_SET_PDEATHSIG`` of prctl(2)); elsewhere a thread of the child looks. The kernel takes the thread
that started a child for its parent, so that whoever starts one waits for it in that thread. Where children outlive
threads, as the downloader's hosts do, they look themselves (``laion_assets.download.host``).
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import AnyStr, Final

_PR_SET_PDEATHSIG: Final = 1
_PARENT: Final = "LAION_PARENT"
_LOOK_SECONDS: Final = 0.2
_LINUX: Final = sys.platform.startswith("linux")


def with_parent() -> dict[str, str]:
    """What the environment of a child of this process needs for :func:`end_with_parent`."""
    return {_PARENT: str(os.getpid())}


def end_with_parent() -> None:
    """Let this process be killed as soon as the one that started it has ended; for programs of ours, to call first.

    Nothing is done in a process that was not started :func:`with_parent`, such as by hand.
    """
    told = os.environ.pop(_PARENT, None)  # its own children have another parent
    if told is None:
        return
    parent = int(told)
    signal_from_kernel(signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)
    if not _LINUX:
        threading.Thread(target=_look, args=(parent,), name="end with parent", daemon=True).start()


def signal_from_kernel(number: signal.Signals) -> None:
    """Ask for a signal when the parent ends, on Linux; before a program that is not ours begins (``preexec_fn``)."""
    if _LINUX:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def end_group(
    process: "subprocess.Popen[AnyStr]", number: signal.Signals = signal.SIGTERM, *, grace_seconds: float
) -> None:
    """End a process that leads a group of its own, and all that it started: by a signal, and by force a little later.

    Args:
        process: started with ``start_new_session``.
        number: what is asked of the group first.
        grace_seconds: how long it may take over that.
    """
    give_up = time.monotonic() + grace_seconds
    with suppress(ProcessLookupError, PermissionError):  # macOS refuses a group that has ended
        os.killpg(process.pid, number)
        while time.monotonic() < give_up:
            process.poll()  # a leader that nobody has asked for would count as one of the group
            os.killpg(process.pid, 0)
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _look(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
