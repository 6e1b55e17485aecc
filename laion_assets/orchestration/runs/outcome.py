"""What every command that builds says at its end: what failed, how much was built, or that nothing had to be."""

from typing import TYPE_CHECKING

from laion_assets.cli.common import complain, out

if TYPE_CHECKING:
    from laion_assets.orchestration.runs.runner import Outcome


def in_words(outcome: "Outcome", *, nothing: str) -> str:
    """What a build did, in a line.

    Args:
        outcome: of it.
        nothing: why there was nothing to do, where there was nothing: ``X is up to date``.
    """
    words = f"{outcome.built} partitions built, {len(outcome.failures)} failed"
    if outcome.left_out:
        words += f", {len(outcome.left_out)} left out that are built on them"
    if outcome.elsewhere:
        words += f", {outcome.elsewhere} built by another build"
    idle = not (outcome.built or outcome.failures or outcome.left_out or outcome.elsewhere)
    return f"nothing to do: {nothing} ({words})" if idle else words


def tell(outcome: "Outcome", *, nothing: str, then: str = "") -> None:
    """Print what failed, a line each, and what the build did; ``then`` is what to look at next."""
    for table, partition, error in outcome.failures:
        complain("failed", f"{table} {partition}: {error}")
    out.print(f"{in_words(outcome, nothing=nothing)}{then}", highlight=False, markup=False, soft_wrap=True)
