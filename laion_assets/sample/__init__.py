"""The sample: a rendered web with known truth, published as Common Crawl publishes, and served on loopback."""
