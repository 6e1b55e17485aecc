"""A lineage cut into branches: commits of one table that were read together stand together."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from laion_assets.delta.lineage import CommitKey, Graph, Read
from laion_assets.delta.partition import partition_values


@dataclass
class Branch:
    """Commits of one table that were read together, or that read together."""

    table: str
    keys: tuple[CommitKey, ...] = ()
    versions: set[int] = field(default_factory=set)
    """Versions that were read."""
    others: set[CommitKey] = field(default_factory=set)
    """Commits that were read as well, and are not in the graph: in a pair's trace those without a row of it."""
    unidentified: int = 0
    """How many more partitions were read that could not be identified."""


class Branches:
    """What the commits of a graph were made from, or what was made from them."""

    def __init__(self, graph: Graph, *, full: bool = False) -> None:
        """Cut a graph.

        Args:
            graph: the graph.
            full: every commit is a branch of its own.
        """
        self._graph = graph
        self._full = full
        self._reads: dict[CommitKey, list[Read]] = {}
        for read in graph.reads:
            for key in (read.reader,) if graph.direction == "back" else read.sources or ():
                self._reads.setdefault(key, []).append(read)

    def roots(self, *, apart: bool = False) -> list[Branch]:
        """What was asked for; ``apart``: every commit of it on its own."""
        graph = self._graph
        parts = [(key,) for key in graph.roots] if apart or self._full else [tuple(graph.roots)]
        return [Branch(graph.table, keys, {graph.version}) for keys in parts]

    def below(self, keys: Iterable[CommitKey]) -> list[Branch]:
        """The branches that go on from some commits, table by table."""
        found: dict[tuple[str, CommitKey | None], Branch] = {}
        inside: dict[str, dict[CommitKey, None]] = {}
        for read in self._distinct(keys):
            ends = read.sources if self._graph.direction == "back" else (read.reader,)
            table = ends[0].table if ends else read.table
            known = [key for key in ends or () if key in self._graph.nodes]
            if self._full and known:
                for key in known:
                    found.setdefault((table, key), Branch(table, (key,))).versions.add(read.version)
                continue
            branch = found.setdefault((table, None), Branch(table))
            branch.versions.add(read.version)
            inside.setdefault(table, {}).update(dict.fromkeys(known))
            branch.others |= set(ends or ()) - set(known)
            branch.unidentified += read.partitions if ends is None else 0
        for table, members in inside.items():
            found[table, None].keys = tuple(members)
        return list(found.values())

    def _distinct(self, keys: Iterable[CommitKey]) -> Iterator[Read]:
        seen: set[int] = set()  # by identity: equality would compare long tuples
        for key in keys:
            for read in self._reads.get(key, ()):
                if id(read) not in seen:
                    seen.add(id(read))
                    yield read


def shared_values(keys: Iterable[CommitKey]) -> str:
    """The partition values that all of these commits share, as a partition's name; empty where there are none."""
    listed = list(keys)
    if len({key.partition for key in listed}) == 1:
        return listed[0].partition
    first, *others = (partition_values(key.partition) for key in listed)
    return "/".join(f"{c}={v}" for c, v in first.items() if all(other.get(c) == v for other in others))


def versions_text(versions: Iterable[int]) -> str:
    """``version 3``, ``versions 1–4, 7``."""
    listed = sorted(version for version in versions if version >= 0)
    starts = [v for n, v in enumerate(listed) if n == 0 or listed[n - 1] != v - 1]
    ends = [v for n, v in enumerate(listed) if n + 1 == len(listed) or listed[n + 1] != v + 1]
    spans = [f"{a}" if a == b else f"{a}–{b}" for a, b in zip(starts, ends, strict=True)]
    if len(spans) > 4:
        spans = [*spans[:3], "…", spans[-1]]
    return f"version{'' if len(listed) == 1 else 's'} {', '.join(spans)}"


def moment(timestamp_ms: int) -> datetime:
    """The time of a commit."""
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC)
