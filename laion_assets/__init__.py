"""From Common Crawl to filtered image-text pairs: a Dagster-orchestrated data lakehouse."""
