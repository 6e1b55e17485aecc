"""What must not be in the lake: removal requests and deny lists, and how urls, pairs and pictures match them.

The same rules exist twice: in Python, for one url at a time before a connection is made (``RemovalMatcher``), and in
DuckDB, for whole tables (``Removals.register``). The canonical form of urls is in ``urls``; what happens to what
matches is decided by the callers.
"""

# Names of columns and tables, never values, are put into SQL here.

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal, Self

import duckdb
import polars as pl

from laion_assets.common.files import appearing
from laion_assets.consent.urls import (
    WRITTEN_FORMS,
    canonical_digest,
    canonical_host,
    canonical_url,
    canonical_url_sql,
    host_of,
    host_sql,
    written_forms,
    written_forms_sql,
)
from laion_assets.urls import resolve_url

KINDS = ("url", "url_sha256", "domain", "sha256", "hash", "pair_id")
"""``sha256`` is of a picture's bytes (removal requests); ``hash`` is md5, sha1 or sha256 of a url or of a picture;
``url_sha256`` is of a url's canonical form (what is published of a removal)."""

REQUEST_KINDS = ("url", "domain", "sha256", "pair_id")
WITHDRAWAL = "withdrawal"
"""The kind of a row of ``takedowns`` that takes another one back: its value is the other's kind, a blank, its value."""

_SCHEMA = pl.Schema({"kind": pl.String, "value": pl.String})
_HASH_LENGTHS = {32: "md5", 40: "sha1", 64: "sha256"}
_TABLE = "_removals"
_CANONICAL_URL = "laion_canonical_url"
_WRITTEN_FORMS = "laion_written_forms"
_BREAKS = str.maketrans("", "", "\t\r\n")


class RemovalError(ValueError):
    """An entry of a removal list that cannot be understood. Nothing is removed by guessing, and nothing is skipped."""


@dataclass(frozen=True)
class Removals:
    """Everything to remove, in comparable form: no two entries mean the same."""

    frame: pl.DataFrame
    """Columns ``kind`` and ``value`` (strings), distinct and sorted; build it with ``load_removals``."""

    @classmethod
    def none(cls) -> Self:
        """No removals."""
        return cls(pl.DataFrame(schema=_SCHEMA))

    @property
    def digest(self) -> str:
        """A sha256 (hex) of the entries, the same whatever list or order they came in."""
        digest = hashlib.sha256()
        for batch in self.frame.iter_slices(65_536):
            lines = batch.select(pl.concat_str("kind", pl.lit("\t"), "value", pl.lit("\n")).str.join())
            digest.update(lines.item().encode())
        return digest.hexdigest()

    @property
    def lists_bodies_by_other_digests(self) -> bool:
        """Whether some entries are md5 or sha1 digests, which say nothing of a picture whose sha256 alone is known."""
        return not self.frame.filter(pl.col("kind") == "hash", pl.col("value").str.len_bytes() < 64).is_empty()

    def write(self, path: str | Path) -> None:
        """Write the entries to a Parquet file that ``RemovalMatcher.read`` reads; replaces it at once, by rename."""
        with appearing(Path(path)) as fresh:
            self.frame.write_parquet(fresh)

    def matcher(self) -> "RemovalMatcher":
        """The entries as a matcher of single urls, pairs and pictures."""
        return RemovalMatcher.of(self.frame)

    def register(self, connection: duckdb.DuckDBPyConnection) -> "RegisteredRemovals":
        """Make the entries known to a DuckDB connection, in place of any registered there before.

        Creates the temporary table ``_removals`` and, once a database, the functions ``laion_canonical_url`` and
        ``laion_written_forms``.
        """
        domain_labels = pl.col("value").str.count_matches(".", literal=True) + 1
        width = pl.when(kind="domain").then(domain_labels).otherwise(pl.col("value").str.len_bytes())
        connection.register("_removals_frame", self.frame.with_columns(width=width.cast(pl.Int32)).to_arrow())
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {_TABLE} AS SELECT * FROM _removals_frame")
        connection.unregister("_removals_frame")
        # Known already: to this connection (not implemented), or to another one of the same database (catalog).
        with suppress(duckdb.NotImplementedException, duckdb.CatalogException):
            connection.create_function(_CANONICAL_URL, canonical_url, ["VARCHAR"], "VARCHAR")
            connection.create_function(_WRITTEN_FORMS, written_forms, ["VARCHAR"], "VARCHAR[]")
        widths = self.frame.select("kind", width=width).unique()
        return RegisteredRemovals(frozenset((str(kind), int(width)) for kind, width in widths.iter_rows()))


@dataclass(frozen=True)
class RegisteredRemovals:
    """Removals that a DuckDB connection knows, and the SQL that matches rows with them."""

    widths: frozenset[tuple[str, int]]
    """Which kinds there are, with the number of labels (domains) or characters (all others) their values have."""

    def annotate(
        self,
        relation: str,
        *,
        url: str | None = "url",
        final_url: str | None = None,
        pair_id: str | None = None,
        sha256: str | tuple[str, ...] | None = None,
    ) -> str:
        """A SELECT of a relation's rows with one more column, ``removal``.

        The column says by what a row is to be removed, the first of ``url, domain, hash, pair_id, sha256`` that
        matches (``url`` also by an ``url_sha256``), and is null in all other rows. It costs nothing where there are no
        entries of a kind.

        Args:
            relation: A table, a view or a parenthesised query, as SQL reads it.
            url: Name of the column of image urls; None leaves ``url, domain, hash`` out.
            final_url: Name of the column of the addresses that were asked last, null where none was: a picture that
                came by a redirect is removed by either address.
            pair_id: Name of the column of pair ids (a number); None leaves ``pair_id`` out.
            sha256: Name of the column of sha256 (lower case hex) of pictures' bytes, compared with removal requests
                (``sha256``) and hash lists (``hash``); several are each compared; None leaves it out.
        """
        # Most urls lead nowhere else, and are compared once.
        led_on = final_url if url is None else f"CASE WHEN {final_url} IS DISTINCT FROM {url} THEN {final_url} END"
        addresses = [*([] if url is None else [url]), *([] if final_url is None else [led_on])]
        digests = (sha256,) if isinstance(sha256, str) else sha256 or ()
        branches = list(self._branches(len(addresses), pair_id, digests))
        if not branches:
            return f"SELECT *, NULL::VARCHAR AS removal FROM {relation}"
        removal = " ".join(f"WHEN {condition} THEN '{kind}'" for kind, condition in branches)
        added: list[str] = []
        for place, address in enumerate(addresses):
            for name, form in self._forms(place, str(address)):
                relation = f"(SELECT *, {form} AS {name} FROM {relation})"
                added.append(name)
        shown = f"* EXCLUDE ({', '.join(added)})" if added else "*"
        return f"SELECT {shown}, CASE {removal} END AS removal FROM {relation}"

    def _has(self, kind: str) -> bool:
        return any(known == kind for known, _ in self.widths)

    def _forms(self, place: int, address: str) -> Iterator[tuple[str, str]]:
        """What of an address is compared, by name, each made of those before it."""
        yield f"_address_{place}", address
        if self._has("url") or self._has("url_sha256") or self._has("domain"):
            yield f"_canonical_{place}", canonical_url_sql(f"_address_{place}", _CANONICAL_URL)
        if self._has("domain"):
            yield f"_labels_{place}", f"string_split({host_sql(f'_canonical_{place}')}, '.')"
        if self._has("hash"):
            yield f"_written_{place}", written_forms_sql(f"_address_{place}", _WRITTEN_FORMS)

    def _branches(self, addresses: int, pair_id: str | None, digests: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        for place in range(addresses if self._has("url") else 0):
            yield "url", _listed(f"_canonical_{place}", "url")
        for place in range(addresses if self._has("url_sha256") else 0):
            yield "url", _listed(f"sha256(_canonical_{place})", "url_sha256")
        domains = sorted(width for kind, width in self.widths if kind == "domain")
        for place in range(addresses if domains else 0):
            endings = (_listed(_last_labels(f"_labels_{place}", width), "domain", width) for width in domains)
            yield "domain", " OR ".join(endings)
        for width in sorted(width for kind, width in self.widths if kind == "hash"):
            function = _HASH_LENGTHS[width]
            for place, form in product(range(addresses), range(WRITTEN_FORMS)):
                yield "hash", _listed(f"{function}(_written_{place}[{form + 1}])", "hash", width)
            for digest in digests if function == "sha256" else ():
                yield "hash", _listed(digest, "hash", width)
        if pair_id is not None and self._has("pair_id"):
            yield "pair_id", f"{pair_id} IN (SELECT value::BIGINT FROM {_TABLE} WHERE kind = 'pair_id')"
        for digest in digests if self._has("sha256") else ():
            yield "sha256", _listed(digest, "sha256")


@dataclass(frozen=True)
class RemovalMatcher:
    """Matches single urls, hosts, pairs and pictures. Can be pickled, and read by each process for itself."""

    urls: frozenset[str]
    url_digests: frozenset[str]
    domains: frozenset[str]
    domain_labels: tuple[int, ...]
    sha256: frozenset[str]
    hashes: frozenset[str]
    hash_functions: tuple[str, ...]
    pair_ids: frozenset[int]

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Self:
        """A matcher of the entries of ``Removals.frame``."""
        values = {kind: frame.filter(kind=kind)["value"].to_list() for kind in KINDS}
        return cls(
            urls=frozenset(values["url"]),
            url_digests=frozenset(values["url_sha256"]),
            domains=frozenset(values["domain"]),
            domain_labels=tuple(sorted({domain.count(".") + 1 for domain in values["domain"]})),
            sha256=frozenset(values["sha256"]),
            hashes=frozenset(values["hash"]),
            hash_functions=tuple(sorted({_HASH_LENGTHS[len(value)] for value in values["hash"]})),
            pair_ids=frozenset(map(int, values["pair_id"])),
        )

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """A matcher of the entries that ``Removals.write`` wrote."""
        return cls.of(pl.read_parquet(path, columns=list(_SCHEMA)))

    def match_url(self, url: str) -> Literal["url", "domain", "hash"] | None:
        """By what a url is to be removed, None if it is not.

        Urls are compared in canonical form (scheme, case of the host, default port, escapes and fragment do not
        matter); a domain matches its host and every host below it; hash lists are compared with the md5, sha1 and
        sha256 of the url exactly as given, of the url without its fragment, and of the URL standard's serialisation.
        """
        if self.urls or self.url_digests or self.domains:
            canonical = canonical_url(url)
            if canonical in self.urls or (self.url_digests and canonical_digest(canonical) in self.url_digests):
                return "url"
            if self._below_a_domain(host_of(canonical)):
                return "domain"
        if self.hashes:
            for form in written_forms(url):
                if self._is_listed(form.encode("utf-8", "surrogatepass")):
                    return "hash"
        return None

    def match_host(self, host: str) -> bool:
        """Whether a host name, or an address as it stands in a url, is a removed domain or lies below one."""
        return bool(self.domains) and self._below_a_domain(canonical_host(host))

    def match_pair_id(self, pair_id: int) -> bool:
        """Whether the removal of this pair was asked for."""
        return pair_id in self.pair_ids

    def match_body(self, body: bytes) -> bool:
        """Whether a picture's bytes, as they were downloaded, are in a hash list or a removal request."""
        if self.sha256 and hashlib.sha256(body).hexdigest() in self.sha256:
            return True
        return self._is_listed(body)

    def match_digest(self, digest: str) -> bool:
        """Whether an md5, sha1 or sha256 (lower case hex) is itself in a hash list or a removal request."""
        return digest in self.sha256 or digest in self.hashes

    def _below_a_domain(self, host: str) -> bool:
        labels = host.split(".")
        return any(".".join(labels[-count:]) in self.domains for count in self.domain_labels if count <= len(labels))

    def _is_listed(self, content: bytes) -> bool:
        digests = (hashlib.new(function, content, usedforsecurity=False) for function in self.hash_functions)
        return any(digest.hexdigest() in self.hashes for digest in digests)


def load_removals(
    takedowns: pl.DataFrame | None = None,
    *,
    url_lists: tuple[str, ...] = (),
    domain_lists: tuple[str, ...] = (),
    hash_lists: tuple[str, ...] = (),
) -> Removals:
    """Read removal requests and deny lists into one comparable form.

    A list is a UTF-8 text file of one entry a line; empty lines and lines that start with ``#`` are skipped.

    Args:
        takedowns: Rows of the ``takedowns`` table: columns ``kind`` (url, domain, sha256, pair_id or withdrawal),
            ``value`` and ``requested_at``; others are ignored. Requests that were withdrawn since count no more.
        url_lists: Files of absolute http(s) urls.
        domain_lists: Files of host names or addresses; each stands for itself and all hosts below it.
        hash_lists: Files of md5, sha1 or sha256 in hex, of urls or of pictures' bytes.

    Raises:
        RemovalError: If an entry is not what its list holds, or a list cannot be read; names the file and the line.
    """
    entries: set[tuple[str, str]] = set()
    if takedowns is not None:
        for number, kind, value in in_force(takedowns):
            entries.add((kind, normal_value(kind, value, f"row {number} of the takedowns")))
    lists = (("url", url_lists), ("domain", domain_lists), ("hash", hash_lists))
    for kind, path in ((kind, path) for kind, paths in lists for path in paths):
        for number, value in _lines(path):
            entries.add((kind, normal_value(kind, value, f"{path}:{number}", (kind,))))
    return Removals(pl.DataFrame(sorted(entries), schema=_SCHEMA, orient="row"))


def in_force(takedowns: pl.DataFrame) -> Iterator[tuple[int, str, str | None]]:
    """Number, kind and value of those rows of ``takedowns`` that are requests which nobody withdrew since.

    A request counts again that was entered again after its withdrawal. Without ``requested_at`` each withdrawal counts.
    """
    timed = "requested_at" in takedowns.columns
    times = takedowns["requested_at"].to_list() if timed else [None] * takedowns.height
    rows = list(zip(takedowns["kind"], takedowns["value"], times, strict=True))
    withdrawn = {value: at for kind, value, at in rows if kind == WITHDRAWAL}
    for number, (kind, value, at) in enumerate(rows, start=1):
        since = withdrawn.get(f"{kind} {value}")
        again = at is not None and since is not None and at > since
        if kind != WITHDRAWAL and (again or f"{kind} {value}" not in withdrawn):
            yield number, kind, value


def _lines(path: str) -> Iterator[tuple[int, str]]:
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                entry = line.strip()
                if entry and not entry.startswith("#"):
                    yield number, entry
    except OSError as error:
        raise RemovalError(f"{path}: this removal list cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RemovalError(f"{path}: a removal list must be UTF-8 text: {error.reason}") from error


def normal_value(kind: str, value: str | None, place: str, kinds: tuple[str, ...] = REQUEST_KINDS) -> str:
    """The value of an entry in the form that entries are compared in: of a url the canonical one.

    Args:
        kind: of the entry.
        value: as somebody wrote it.
        place: where it stands, for the message.
        kinds: that may stand there.

    Raises:
        RemovalError: it is not what its kind needs.
    """
    if kind not in kinds:
        raise RemovalError(f"{place}: expected a kind out of {', '.join(kinds)}, found {kind!r}")
    try:
        return _NORMALISERS[kind](("" if value is None else value).strip())
    except ValueError as error:
        raise RemovalError(f"{place}: expected {error}, found {value!r}; correct or delete this entry") from error


def _url(value: str) -> str:
    # Stricter than the URL standard, which takes the path of `http:///a.jpg` for a host.
    written = re.match(r"https?:[/\\]{2}[^/\\?#]", value.translate(_BREAKS), re.IGNORECASE)
    if written is None or resolve_url(value) is None or not host_of(canonical := canonical_url(value)):
        raise ValueError("an absolute http(s) url")
    return canonical


def _domain(value: str) -> str:
    host = canonical_host(value.removeprefix("*").removeprefix("."))
    if not host or "" in host.split(".") or re.search(r"[\s*]", value.removeprefix("*")):
        raise ValueError("a host name or address, without scheme, port or path")
    return host


def _hex(*lengths: int) -> Callable[[str], str]:
    def normalise(value: str) -> str:
        if len(value) not in lengths or re.fullmatch(r"[0-9a-fA-F]+", value) is None:
            raise ValueError(f"{' or '.join(_HASH_LENGTHS[length] for length in lengths)} in hex")
        return value.lower()

    return normalise


def _pair_id(value: str) -> str:
    if re.fullmatch(r"-?[0-9]{1,19}", value) is None or not -(2**63) <= int(value) < 2**63:
        raise ValueError("a pair id, a signed 64-bit number")
    return str(int(value))


_NORMALISERS: dict[str, Callable[[str], str]] = {
    "url": _url,
    "domain": _domain,
    "sha256": _hex(64),
    "hash": _hex(*_HASH_LENGTHS),
    "pair_id": _pair_id,
}


def _listed(expression: str, kind: str, width: int | None = None) -> str:
    of_width = "" if width is None else f" AND width = {width}"
    return f"{expression} IN (SELECT value FROM {_TABLE} WHERE kind = '{kind}'{of_width})"


def _last_labels(labels: str, count: int) -> str:
    """SQL: the last labels of a host, null if it has fewer. Many times faster than joining a slice of the list."""
    return " || '.' || ".join(f"{labels}[-{place}]" for place in range(count, 0, -1))
