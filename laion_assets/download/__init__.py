"""Fetching pictures: img2dataset's downloader, resizer and writer behind our own, guarded fetch.

Here live the options, the taxonomy of failures, the address guard, the fetch, the pool of worker processes and
``driver.download``. What is *not* here: which urls to attempt, what earlier runs already know, and any table: callers
decide that. Only the options and the taxonomy are imported here, so importing this package costs nothing;
``download`` itself is in ``laion_assets.download.driver``.
"""

from laion_assets.download.failures import TRANSIENT_FAILURES, Failure, is_transient
from laion_assets.download.options import DownloadOptions

__all__ = ["TRANSIENT_FAILURES", "DownloadOptions", "Failure", "is_transient"]
