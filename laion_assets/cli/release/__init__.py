"""``laion release``: making releases, listing, comparing and checking them. Each file has its commands."""
