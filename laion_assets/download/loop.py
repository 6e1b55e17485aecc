"""Hundreds of transfers in one thread, on libcurl's multi interface, between whoever takes what they bring.

What is done for a url is a generator. It yields a host name for its addresses, seconds to pause, or its ``Visit`` for
the answer of the target, and is thrown what went wrong; its return value is the outcome.
"""

import contextlib
import heapq
import itertools
import os
import select
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import Any, TypeVar

import pycurl

from laion_assets.download.failures import Failure, FetchFailed
from laion_assets.download.guard import Guard
from laion_assets.download.names import Names
from laion_assets.download.options import DownloadOptions
from laion_assets.download.slots import Slots
from laion_assets.download.transfer import Transfer, Visit

Key = TypeVar("Key")
Outcome = TypeVar("Outcome")
Steps = Generator[str | float | Visit, Any, Outcome]
_Job = tuple[Any, Steps[Any]]

_TICK_SECONDS = 0.02
"""How finely stalls and deadlines are seen."""
_TURN_SECONDS = 0.002
"""Sockets are looked after this often while there are outcomes to be taken."""
_MOST_WAITING = 20_000
"""Urls that may wait for a slot, a name or a further try: they cost a few hundred bytes each, and no transfer."""
_EVENTS = {
    pycurl.POLL_IN: select.POLLIN,
    pycurl.POLL_OUT: select.POLLOUT,
    pycurl.POLL_INOUT: select.POLLIN | select.POLLOUT,
}


class Loop:
    """Runs the steps of urls; used by one thread at a time.

    Args:
        options: limits; at most ``threads`` urls have a transfer under way, and as many a body that nobody has taken.
        guard: which addresses may be connected to.
        slots: bounds the requests to hosts and addresses.
    """

    def __init__(self, options: DownloadOptions, guard: Guard, slots: Slots) -> None:
        self._options = options
        self._guard = guard
        self._slots = slots
        self._poll = select.poll()
        self._woken, self._waker = os.pipe()
        self._waking = threading.Lock()
        self._poll.register(self._woken, select.POLLIN)
        times = (options.timeout_seconds, options.retry_delay_seconds)
        self._names: Names[_Job] = Names(guard.lookup, *times, self._wake)
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_alarm)
        self._multi.setopt(pycurl.M_MAXCONNECTS, 2 * options.threads)
        self._alarm = float("inf")
        self._idle: list[Transfer] = []
        self._active: dict[pycurl.Curl, tuple[Transfer, _Job]] = {}
        self._waiting: dict[str, deque[tuple[Visit, _Job]]] = {}
        self._due: list[tuple[float, str]] = []
        """When to see whether what waits for an address may start; each address that is waited for stands here once."""
        self._pausing: list[tuple[float, int, _Job]] = []
        self._numbers = itertools.count()
        self._done: deque[tuple[Any, Any]] = deque()
        self._elsewhere = self._swept_at = self._turned_at = 0.0

    def run(self, urls: Iterable[tuple[Key, Steps[Outcome]]]) -> Iterator[tuple[Key, Outcome]]:
        """The outcomes of all urls, as they come. Time spent elsewhere between two of them counts as no url's time."""
        source = iter(urls)
        more, unfinished = True, 0
        while more or unfinished:
            for _ in range(self._options.threads):
                if not more or not self._room() or unfinished >= _MOST_WAITING:
                    break
                job = next(source, None)
                more = job is not None
                if job is not None:
                    unfinished += 1
                    self._advance(job, None)
                    self._start(time.monotonic())
            if self._done:
                unfinished -= 1
                outcome = self._done.popleft()
                left_at = time.monotonic()
                yield outcome
                now = time.monotonic()
                self._elsewhere += now - left_at
                if self._done and now - self._turned_at < _TURN_SECONDS:
                    continue
            if unfinished:
                self._turn(wait=not self._done and not (more and self._room() and unfinished < _MOST_WAITING))

    def close(self) -> None:
        """End all transfers and connections."""
        for curl, (transfer, _) in self._active.items():
            self._multi.remove_handle(curl)
            transfer.release()
        self._active.clear()
        self._multi.close()
        with self._waking:  # a lookup that was left behind must not write to whatever gets this number next
            os.close(self._waker)
            self._waker = -1
        os.close(self._woken)

    def _room(self) -> bool:
        return max(len(self._active), len(self._done)) < self._options.threads

    def _clock(self) -> float:
        return time.monotonic() - self._elsewhere

    def _advance(self, job: _Job, answer: Any) -> None:
        """Go on with a url until it has to wait again."""
        key, steps = job
        while True:
            try:
                step = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
            except StopIteration as stop:
                return self._done.append((key, stop.value))
            if isinstance(step, Visit):
                return self._queue(step, job)
            if not isinstance(step, str):
                return heapq.heappush(self._pausing, (time.monotonic() + step, next(self._numbers), job))
            answer = self._names.ask(step, job)
            if answer is None:
                return None

    def _queue(self, visit: Visit, job: _Job) -> None:
        address = visit.addresses[0][1]
        if address not in self._waiting:
            self._waiting[address] = deque()
            heapq.heappush(self._due, (0.0, address))
        self._waiting[address].append((visit, job))

    def _turn(self, *, wait: bool) -> None:
        now = time.monotonic()
        self._start(now)
        ends = [self._alarm, *(self._pausing[0][:1] if self._pausing else ())]
        ends += [self._due[0][0]] if self._due and self._room() else []
        ends += [now + _TICK_SECONDS] if self._active or self._names.busy else []
        patience = min(max(min(ends) - time.monotonic(), 0.0), 60.0) if wait else 0.0
        for fd, events in self._poll.poll(patience * 1000):
            if fd == self._woken:
                os.read(fd, 4096)
            else:  # no event but the two that were asked for: an error or a hang-up, which reading will find
                reads = pycurl.CSELECT_IN if events & ~select.POLLOUT else 0
                self._multi.socket_action(fd, reads | (pycurl.CSELECT_OUT if events & select.POLLOUT else 0))
        now = self._turned_at = time.monotonic()
        if self._alarm <= now:
            self._alarm = float("inf")
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._collect()
        for job, answer in self._names.settled():
            self._advance(job, answer)
        while self._pausing and self._pausing[0][0] <= now:
            self._advance(heapq.heappop(self._pausing)[2], None)
        if now - self._swept_at >= _TICK_SECONDS:
            self._swept_at = now
            self._sweep()

    def _start(self, now: float) -> None:
        """Start what has waited for a transfer, and for its slots, as far as there are any."""
        while self._due and self._due[0][0] <= now and self._room():
            address = self._due[0][1]
            queue = self._waiting[address]
            visit, job = queue[0]
            assert visit.target is not None
            pause = self._slots.take(visit.target.host, address)
            if pause:
                heapq.heapreplace(self._due, (now + pause, address))
                continue
            queue.popleft()
            if not queue:
                del self._waiting[address]
                heapq.heappop(self._due)
            transfer = self._idle.pop() if self._idle else Transfer(self._options, self._guard, self._slots)
            transfer.prepare(visit, visit.target)
            visit.started_at = visit.moved_at = self._clock()
            self._active[transfer.curl] = (transfer, job)
            self._multi.add_handle(transfer.curl)

    def _collect(self) -> None:
        """Take what libcurl has finished."""
        left = 1
        while left:
            left, good, bad = self._multi.info_read()
            for curl in good:
                self._finish(curl, None)
            for curl, code, message in bad:
                self._finish(curl, self._active[curl][0].explain(code, message))

    def _sweep(self) -> None:
        """End what has come to a stop and what takes too long."""
        now = self._clock()
        for curl, (transfer, _) in list(self._active.items()):
            visit = transfer.visit
            if transfer.moved:
                transfer.moved, visit.moved_at = False, now
            if now - visit.started_at >= visit.seconds:
                self._finish(curl, _timeout(f"not done within {self._options.deadline_seconds:g} s"))
            elif now - visit.moved_at >= self._options.timeout_seconds:
                self._finish(curl, _timeout(f"nothing came for {self._options.timeout_seconds:g} s"))

    def _finish(self, curl: pycurl.Curl, error: FetchFailed | None) -> None:
        transfer, job = self._active.pop(curl)
        visit = transfer.visit
        self._multi.remove_handle(curl)
        transfer.release()
        self._idle.append(transfer)
        visit.seconds -= self._clock() - visit.started_at
        answer: Any
        try:
            answer = transfer.finish(error)
        except FetchFailed as failed:
            answer = failed
        visit.fresh = transfer.busy_address is not None
        if visit.fresh:  # wait for the address that it went to, and go there alone
            there = [found for found in visit.addresses if found[1] == transfer.busy_address]
            visit.addresses = there or visit.addresses
            return self._queue(visit, job)
        return self._advance(job, answer)

    def _watch(self, what: int, fd: int, *_: object) -> None:
        if what == pycurl.POLL_REMOVE:
            with contextlib.suppress(KeyError):
                self._poll.unregister(fd)
        else:
            self._poll.register(fd, _EVENTS[what])

    def _set_alarm(self, milliseconds: int) -> None:
        self._alarm = time.monotonic() + milliseconds / 1000 if milliseconds >= 0 else float("inf")

    def _wake(self) -> None:
        with self._waking, contextlib.suppress(OSError):
            os.write(self._waker, b"\0")


def _timeout(what: str) -> FetchFailed:
    return FetchFailed(Failure.TIMEOUT, what)
