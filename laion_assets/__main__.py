"""``python -m laion_assets`` is ``laion``."""

from laion_assets.cli import main

main()
