"""``laion release``: making releases, listing, comparing and checking them."""
