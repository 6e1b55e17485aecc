"""What answers a browser that asks for pages of a lake. They are read, never written; nothing that is sent is kept."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from laion_assets.web.addresses import KINDS, Kind

if TYPE_CHECKING:
    from laion_assets.web.views import Views

_SVG: Final = "image/svg+xml"
_HTML: Final = "text/html; charset=utf-8"
_HEADERS: Final = {
    # A copy that a browser kept would outlive a removal.
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_KEPT_BYTES: Final = 32 << 20
_MOST_WAITING: Final = 8
"""Of requests, those that are answered included: each holds a thread of the server."""


class Pages:
    """Makes pages, one at a time, and keeps those that were asked for last in memory while the lake is the same."""

    def __init__(self, views: "Callable[[], Views]") -> None:
        """Serve what ``views`` gives, which is opened when a page is asked for."""
        self._open = views
        self._views: Views | None = None
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(_MOST_WAITING)
        self._kept: OrderedDict[str, tuple[object, bytes]] = OrderedDict()

    def routes(self) -> list[Route]:
        """The routes, to be mounted at ``addresses.PREFIX``."""
        return [
            Route("/pictures/{kind}/{partition:path}", self._strip, methods=["GET"]),
            Route("/pairs/{kind}/{partition:path}", self._pairs, methods=["GET"]),
            Route("/rows/{table}/{partition:path}", self._rows, methods=["GET"]),
            Route("/{anything:path}", lambda _: _missing("there is no such page"), methods=["GET"]),
        ]

    def _strip(self, request: Request) -> Response:
        return self._of_kind(request, lambda views, kind, partition: views.strip(kind, partition), _SVG)

    def _pairs(self, request: Request) -> Response:
        return self._of_kind(request, lambda views, kind, partition: views.pairs(kind, partition), _HTML)

    def _rows(self, request: Request) -> Response:
        table, partition = request.path_params["table"], request.path_params["partition"]
        return self._answer(request, table, lambda views: views.rows(table, partition), _HTML)

    def _of_kind(self, request: Request, make: "Callable[[Views, Kind, str], bytes]", media_type: str) -> Response:
        partition = request.path_params["partition"]
        kind = next((known for known in KINDS if known == request.path_params["kind"]), None)
        if kind is None:
            return _missing(f"expected {' or '.join(KINDS)}")
        return self._answer(request, "filtered_pairs", lambda views: make(views, kind, partition), media_type)

    def _answer(self, request: Request, table: str, make: "Callable[[Views], bytes]", media_type: str) -> Response:
        import duckdb

        from laion_assets.consent.removals import RemovalError
        from laion_assets.delta.errors import LakeError
        from laion_assets.web.views import UnknownPageError

        if not self._places.acquire(blocking=False):
            return _not_now("others are being made")
        try:
            with self._lock:
                self._views = self._views or self._open()
                content = self._page(request.url.path, self._views, table, make)
        except UnknownPageError as error:
            return _missing(str(error))
        except (LakeError, RemovalError, duckdb.Error, OSError) as error:
            return _not_now(str(error))
        finally:
            self._places.release()
        return Response(content, 200, _HEADERS, media_type)

    def _page(self, path: str, views: "Views", table: str, make: "Callable[[Views], bytes]") -> bytes:
        state = views.state(table)
        known = self._kept.pop(path, None)
        page = known[1] if known is not None and known[0] == state else make(views)
        self._kept[path] = (state, page)
        while sum(len(content) for _, content in self._kept.values()) > _KEPT_BYTES:
            self._kept.popitem(last=False)
        return page


def _not_now(why: str) -> Response:
    return Response(f"this cannot be shown now: {why}", 503, _HEADERS, "text/plain; charset=utf-8")


def _missing(why: str) -> Response:
    return Response(why, 404, _HEADERS, "text/plain; charset=utf-8")
