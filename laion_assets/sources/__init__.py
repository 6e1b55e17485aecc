"""Common Crawl: where its files lie, which there are, and the image links with alt text inside them.

This package reads bytes and yields polars frames. It knows neither tables nor partitions, and it decides nothing about
which pairs are worth keeping beyond what makes a link an http(s) address with a text.
"""
