"""``laion sql``: queries over everything, in one command or at a prompt."""
