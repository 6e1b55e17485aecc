"""Hundreds of transfers in one thread, on libcurl's multi interface, between whoever takes what they bring.

What is done for a url is a generator. It yields a host name for its addresses, seconds to pause, or its ``Visit`` for
the answer of the target, and is thrown what went wrong; its return value is the outcome.
"""

import heapq
import itertools
import select
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import pycurl

from laion_assets.download.failures import Failure, FetchFailed
from laion_assets.download.guard import Guard
from laion_assets.download.names import Names
from laion_assets.download.options import DownloadOptions
from laion_assets.download.slots import Slots
from laion_assets.download.transfer import Transfer, Visit

Steps = Generator[str | float | Visit, Any, Any]
_Job = tuple[Any, Steps]

_TICK_SECONDS = 0.01
"""How finely stalls, deadlines and names that were looked up are seen."""
_TURN_SECONDS = 0.002
"""Sockets are looked after this often while there are outcomes to be taken."""
_MOST_WAITING = 20_000
"""Urls that may wait for a slot, a name or a further try: they cost a few hundred bytes each, and no transfer."""
_EVENTS = (0, select.POLLIN, select.POLLOUT, select.POLLIN | select.POLLOUT)
"""What to wait for where libcurl says POLL_NONE, POLL_IN, POLL_OUT or POLL_INOUT, which are 0 to 3."""


class Loop:
    """Runs the steps of urls; used by one thread at a time.

    Args:
        options: limits; at most ``threads`` urls have a transfer under way, and as many a body that nobody has taken.
        guard: which addresses may be connected to.
        slots: bounds the requests to hosts and addresses.
    """

    def __init__(self, options: DownloadOptions, guard: Guard, slots: Slots) -> None:
        self._options, self._guard, self._slots = options, guard, slots
        self._names = Names(guard.lookup, options.timeout_seconds, options.retry_delay_seconds)
        self._poll = select.poll()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_MAXCONNECTS, 2 * options.threads)
        self._idle: list[Transfer] = []
        self._active: dict[pycurl.Curl, tuple[Transfer, _Job, tuple[str, ...]]] = {}
        self._waiting: dict[str, deque[tuple[Visit, _Job]]] = {}
        self._ready: deque[str] = deque()
        """Addresses for which the first that waits may see whether there is room and a slot."""
        self._timers: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._numbers = itertools.count()
        self._done: deque[tuple[Any, Any]] = deque()
        self._elsewhere = self._turned_at = 0.0
        self._sweep()

    def run(self, urls: Iterable[_Job]) -> Iterator[tuple[Any, Any]]:
        """The outcomes of all urls, as they come. Time spent elsewhere between two of them counts as no url's time."""
        source = iter(urls)
        more, unfinished = True, 0
        while more or unfinished:
            room = max(self._room(), 0) if more else 0
            if room:
                room = max(min(room, self._names.room(), _MOST_WAITING - unfinished), 0)
            jobs = list(itertools.islice(source, room))
            more = more and len(jobs) == room
            unfinished += len(jobs)
            for job in jobs:
                self._advance(job, None)
            while self._ready and self._room() > 0:
                self._start(self._ready.popleft())
            if self._done:
                unfinished -= 1
                left_at = time.monotonic()
                yield self._done.popleft()
                self._elsewhere += time.monotonic() - left_at
            if unfinished and (not self._done or time.monotonic() - self._turned_at >= _TURN_SECONDS):
                self._turn(wait=not self._done and not jobs)

    def close(self) -> None:
        """End all transfers and connections."""
        for curl, (_, _, names) in self._active.items():
            self._multi.remove_handle(curl)
            self._slots.release(*names)
        self._active.clear()
        self._multi.close()

    def _room(self) -> int:
        return self._options.threads - max(len(self._active), len(self._done))

    def _clock(self) -> float:
        return time.monotonic() - self._elsewhere

    def _later(self, seconds: float, what: Callable[..., object], *arguments: Any) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), what, arguments))

    def _advance(self, job: _Job, answer: Any) -> None:
        """Go on with a url until it has to wait again."""
        key, steps = job
        while True:
            try:
                step = steps.throw(answer) if isinstance(answer, Exception) else steps.send(answer)
            except StopIteration as stop:
                return self._done.append((key, stop.value))
            if isinstance(step, Visit):
                address = step.addresses[0]
                if address not in self._waiting:
                    self._waiting[address] = deque()
                    self._ready.append(address)
                return self._waiting[address].append((step, job))
            if not isinstance(step, str):
                return self._later(step, self._advance, job, None)
            answer = self._names.ask(step, job)
            if answer is None:
                return None

    def _turn(self, *, wait: bool) -> None:
        """Wait for something to happen, and see to it."""
        patience = 1000 * max(self._timers[0][0] - time.monotonic(), 0.0) if wait else 0.0
        alarm = self._multi.timeout()  # of libcurl's own, in milliseconds; -1 where there is none
        for fd, events in self._poll.poll(patience if alarm < 0 else min(patience, alarm)):
            # No event but the two that were asked for: an error or a hang-up, which reading will find.
            reads = pycurl.CSELECT_IN if events & ~select.POLLOUT else 0
            self._multi.socket_action(fd, reads | (pycurl.CSELECT_OUT if events & select.POLLOUT else 0))
        if self._multi.timeout() == 0:
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        _, good, bad = self._multi.info_read()
        for curl in good:
            self._finish(curl, None)
        for curl, code, message in bad:
            self._finish(curl, self._active[curl][0].explain(code, message))
        now = self._turned_at = time.monotonic()
        while self._timers[0][0] <= now:
            _, _, what, arguments = heapq.heappop(self._timers)
            what(*arguments)

    def _start(self, address: str) -> None:
        """Start the first that waits for an address, if its slots are free."""
        queue = self._waiting[address]
        visit, job = queue[0]
        names = (visit.target.host, *visit.addresses)  # all: any of them may be the one that answers
        pause = self._slots.take(*names)
        if pause:
            return self._later(pause, self._ready.append, address)
        queue.popleft()
        if queue:
            self._ready.append(address)
        else:
            del self._waiting[address]
        transfer = self._idle.pop() if self._idle else Transfer(self._options, self._guard)
        transfer.prepare(visit, self._clock())
        self._active[transfer.curl] = transfer, job, names
        self._multi.add_handle(transfer.curl)
        return None

    def _sweep(self) -> None:
        """Go on with those whose names are looked up; end what has come to a stop and what takes too long."""
        self._later(_TICK_SECONDS, self._sweep)
        for job, answer in self._names.settled():
            self._advance(job, answer)
        now = self._clock()
        for curl, (transfer, _, _) in list(self._active.items()):
            if transfer.moved:
                transfer.moved, transfer.moved_at = False, now
            if now - transfer.started_at >= transfer.visit.seconds:
                late = f"not done within {self._options.deadline_seconds:g} s"
                self._finish(curl, FetchFailed(Failure.TIMEOUT, late))
            elif now - transfer.moved_at >= self._options.timeout_seconds:
                self._finish(curl, transfer.explain(pycurl.E_OPERATION_TIMEDOUT, ""))

    def _finish(self, curl: pycurl.Curl, error: FetchFailed | None) -> None:
        transfer, job, names = self._active.pop(curl)
        self._multi.remove_handle(curl)
        self._slots.release(*names)
        transfer.visit.seconds -= self._clock() - transfer.started_at
        answer = transfer.finish(error)
        self._idle.append(transfer)
        self._advance(job, answer)

    def _watch(self, what: int, fd: int, *_: object) -> None:
        if what == pycurl.POLL_REMOVE:
            self._poll.unregister(fd)
        else:
            self._poll.register(fd, _EVENTS[what])
