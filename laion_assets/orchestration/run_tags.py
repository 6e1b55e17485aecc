"""Tags by which whoever asks for a run tells its steps what to do otherwise."""

from typing import Final

REFETCH_TAG: Final = "laion/refetch"
"""A run of ``images`` with this tag attempts every url again, known or not."""
ASK_AGAIN_TAG: Final = "laion/ask-again"
"""A run of ``images`` with this tag, an ISO 8601 time, asks owners again of whom nobody has asked anything since."""
RELEASE_TAG: Final = "laion/release"
"""A run of ``releases`` with this tag makes the release that it describes, as ``release.options`` writes it."""
REFRESH_TAG: Final = "laion/refresh"
"""A run of ``training_sets`` with this tag selects from the tables as they are now, also where one was made before."""
