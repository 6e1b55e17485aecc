"""Which failures of a step can pass, and how long to wait before it is tried again.

A step that could not reach something is tried again a few times. One whose rows broke a check, whose settings are
wrong, that hit a limit or found the disk full would fail again, and runs once.
"""

import dagster as dg

from laion_assets.common.passing import error_can_pass
from laion_assets.delta.errors import PartitionBusy, StorageUnavailable, ValidationFailed
from laion_assets.delta.space import causes, disk_trouble, no_space_left
from laion_assets.download.pool import DownloadError
from laion_assets.orchestration.execution.watch import LimitExceeded
from laion_assets.sources.transfer import TransferError, TransientFailure
from laion_assets.tables.needs import RetryOptions

_OURS = (PartitionBusy, StorageUnavailable, TransientFailure, TransferError, DownloadError)
"""DownloadError: a worker process died, of memory or by hand; finished tars are kept."""


def policy(options: RetryOptions) -> dg.RetryPolicy:
    """The same patience for Dagster, which applies it to steps whose process or machine was lost."""
    return dg.RetryPolicy(
        max_retries=options.times,
        delay=options.seconds,
        backoff=dg.Backoff.EXPONENTIAL,
        jitter=dg.Jitter.PLUS_MINUS,
    )


def can_pass(error: BaseException) -> bool:
    """Whether the same step may well go through if it is tried again: the error, or one that it came from, says so."""
    if isinstance(error, ValidationFailed | LimitExceeded) or no_space_left(error) is not None:
        return False
    return any(isinstance(link, _OURS) or error_can_pass(link) for link in causes(error))


def was_interrupted(error: BaseException) -> bool:
    """Whether somebody wanted the step to stop: DuckDB, for one, makes an error of its own of the interrupt."""
    return any(isinstance(link, KeyboardInterrupt | dg.DagsterExecutionInterruptedError) for link in causes(error))


def told(error: Exception, options: RetryOptions, tries_before: int) -> Exception:
    """The exception that tells Dagster what became of a step, with the error as its last cause.

    Args:
        error: what the step failed of.
        options: how often to try again.
        tries_before: how often it was tried again already.
    """
    failure = dg.Failure(description=_words(error), allow_retries=False)
    failure.__cause__ = error
    if not can_pass(error) or options.times == 0:
        return failure
    again = dg.RetryRequested(
        max_retries=options.times, seconds_to_wait=policy(options).calculate_delay(tries_before + 1)
    )
    again.__cause__ = failure
    return again


def _words(error: Exception) -> str:
    """What the error says. One of ours explains itself; of others the kind is part of what they say."""
    kind = type(error)
    if kind.__module__.partition(".")[0] == "laion_assets" and no_space_left(error) is None:
        return str(error)
    return disk_trouble(error) or f"{kind.__name__}: {error}"
