"""How a partition compares with those of the crawls before it: what nobody dropped on purpose, and is missing.

A resolver that does not answer, or an agent that sites have blocked, breaks no row: each failed download is a row, and
rows in are rows out. It shows only beside other crawls.

A partition is held against all partitions of the same table in the newest crawls before its own, made with the same
settings: what somebody changed on purpose is no surprise. The middle is their median and the spread their median
absolute deviation, scaled to a standard deviation (Hampel, JASA 69 (1974) 383-393): as long as more than half of them
are sound, the others move neither. On top comes what counts of this size vary by anyway, since buckets of a sample hold
a hundred rows and those of a crawl millions.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, log, sqrt
from statistics import median

from laion_assets.common.quantities import counted
from laion_assets.delta.commits import Commit, Ledger
from laion_assets.tables.catalogue import CATALOGUE

CHECK = "like_earlier_crawls"
MEANING = "success rate, drops and rows are about those of the crawls before"

PICTURES = "pictures"
"""Count in a commit of ``images``: urls whose picture is there, whoever downloaded it."""

CRAWLS = 8
"""So many crawls before it are looked at: the web of ten years ago is another one."""
POINTS = 0.10
"""A share may lie so far from the median whatever the spread. Neighbouring crawls differ by less."""
FACTOR = 2.0
"""A number of rows may be so many times the median, or so small a part of it, whatever the spread."""
DEVIATIONS = 4.0
"""Beyond so many standard deviations it is no accident: of 10,000 partitions less than one."""

_TO_DEVIATION = 1.4826
_SET_ASIDE = ("beyond_limit", "removed_", "seen_in_earlier_crawl", "image_failed")
"""How drops begin that say nothing here: somebody asked for them, they grow with the number of crawls, or the table
before has told them."""
_FAILURE, _BAD_RECORD = "failure: ", "bad record: "


@dataclass(frozen=True)
class Figure:
    """One figure of a partition."""

    value: float
    of: float
    """What it is counted in: rows of a share, files of a number of rows a file."""
    is_share: bool = True
    may_rise: bool = False


def surprises(commit: Commit, ledger: Ledger, files: Mapping[str, int], imports: Collection[str] = ()) -> list[str]:
    """What of a partition is unlike the crawls before it.

    Args:
        commit: of the partition.
        ledger: of its table.
        files: by crawl, how many files were read of it.
        imports: crawls that are no snapshots of the web, so that nothing is to be learnt from them, nor of them.

    Returns:
        A sentence for each figure; none where all is usual, or no crawl before it was built with these settings.
    """
    if _crawl(commit) in imports:
        return []
    before = precedents(commit, ledger, imports)
    reasons = {name for c in (commit, *before) for name in c.drops if not name.startswith(_SET_ASIDE)}
    known = [figures(other, reasons, files) for other in before]
    found = []
    for name, figure in figures(commit, reasons, files).items():
        others = [f[name] for f in known if name in f]
        told = _unlike(figure, others) if others else None
        if told is not None:
            found.append(f"{name}: {told} of {counted(len(others), 'partition')} in the crawls before")
    return [*found, *(_commonest_failure(commit) if found else [])]


def precedents(commit: Commit, ledger: Ledger, imports: Collection[str] = ()) -> list[Commit]:
    """The partitions it is held against: validated, of the newest crawls before its own, made with its settings."""
    crawl = _crawl(commit)
    snapshots = ledger.periods - {*imports}  # these stand in the order of their names
    earlier = sorted(c for c in snapshots if crawl is not None and c < crawl)[-CRAWLS:]
    return [
        other
        for other in ledger.commits.values()
        if _crawl(other) in earlier and other.settings_digest == commit.settings_digest and ledger.is_validated(other)
    ]


def figures(commit: Commit, reasons: Iterable[str], files: Mapping[str, int]) -> dict[str, Figure]:
    """What a partition is judged by, by name.

    Rows are counted where their number comes about: the files of a crawl, the links of a file, the pairs that are
    new in this crawl or known from one before. After that there are as many as went in, less what was dropped, and
    drops are shares of what went in. So one cause is told once, not in every table that is built on it.

    Args:
        commit: of the partition.
        reasons: for which rows are dropped, here or elsewhere.
        files: by crawl, how many files were read of it.
    """
    found: dict[str, Figure] = {}
    rows_in = commit.rows_in - sum(rows for name, rows in commit.drops.items() if name.startswith(_SET_ASIDE))
    if rows_in > 0:
        found |= {f"dropped as {n}": Figure(commit.drops.get(n, 0) / rows_in, rows_in) for n in sorted(reasons)}
    pictures = _pictures(commit)
    if pictures is not None and commit.rows:
        found["success rate"] = Figure(pictures / commit.rows, commit.rows, may_rise=True)
    read = commit.counts.get("files", 0) if commit.table == "candidate_pairs" else files.get(str(_crawl(commit)), 0)
    if commit.table == "wat_files":
        found["files"] = Figure(commit.rows_in, 1, is_share=False)
    elif commit.table == "candidate_pairs" and read:
        records = commit.counts.get("records", 0)
        if records:
            bad = sum(rows for name, rows in commit.counts.items() if name.startswith(_BAD_RECORD))
            found["records that cannot be read"] = Figure(bad / records, records)
        found["links a file"] = Figure(commit.rows_in / read, read, is_share=False)
    elif commit.table == "unique_pairs" and read:
        rows = commit.rows + commit.drops.get("seen_in_earlier_crawl", 0)
        found["distinct pairs a file"] = Figure(rows / read, read, is_share=False)
    return found


def _pictures(commit: Commit) -> int | None:
    """Pictures of a partition; None where its record, of an earlier version, does not tell."""
    if PICTURES in commit.counts or commit.table != "images":
        return commit.counts.get(PICTURES)
    return commit.counts.get("succeeded", 0) if not commit.counts.get("known") else None


def _unlike(figure: Figure, others: Sequence[Figure]) -> str | None:
    """How a figure differs from those of others; None where it does not."""
    middle = median(other.value for other in others)
    if not middle and not figure.is_share:
        return None
    known = sum(other.of for other in others)
    if figure.is_share:
        allowed = _allowed_share(figure, middle, known, others)
        far = middle - figure.value if figure.may_rise else abs(figure.value - middle)
        told = f"{figure.value:.1%}, against {middle:.1%}, the median"
    else:
        allowed = _allowed_factor(figure, middle, known, others)
        far = abs(_log(figure.value) - _log(middle)) if figure.value != middle else 0.0
        told = f"{figure.value:,.0f}, against {middle:,.0f}, the median"
    return told if far > allowed else None


def _allowed_share(figure: Figure, middle: float, known: float, others: Sequence[Figure]) -> float:
    spread = _TO_DEVIATION * median(abs(other.value - middle) for other in others)
    likely = (middle * known + 1) / (known + 2)  # Laplace's rule: never nothing, never all
    by_chance = sqrt(likely * (1 - likely) * (1 / figure.of + 1 / known))
    return max(POINTS, DEVIATIONS * spread) + DEVIATIONS * by_chance


def _allowed_factor(figure: Figure, middle: float, known: float, others: Sequence[Figure]) -> float:
    """As a difference of logarithms."""
    spread = _TO_DEVIATION * median(abs(_log(other.value) - _log(middle)) for other in others)
    by_chance = sqrt(1 / max(middle * figure.of, 1) + 1 / max(middle * known, 1))
    return max(log(FACTOR), DEVIATIONS * spread) + DEVIATIONS * by_chance


def _log(value: float) -> float:
    return log(value) if value > 0 else -inf


def _commonest_failure(commit: Commit) -> list[str]:
    kinds = {n.removeprefix(_FAILURE): rows for n, rows in commit.counts.items() if n.startswith(_FAILURE)}
    worst = max(kinds, key=lambda kind: kinds[kind], default=None)
    return [] if worst is None else [f"most downloads failed as {worst} ({kinds[worst]:,})"]


def _crawl(commit: Commit) -> str | None:
    crawl = CATALOGUE.partition(commit.partition).get("crawl")
    return None if crawl is None else str(crawl)
