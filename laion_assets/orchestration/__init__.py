"""All that knows Dagster: assets, what runs them, what is due, and what runs by itself."""
