"""Lists of urls and texts: Parquet, CSV, TSV and JSON lines, from files of this machine, S3 or the web.

What a list's columns mean stands in ``columns``, how its rows become candidate pairs in ``rows``. Which lists belong to
a crawl, and what becomes of the pairs, is for callers.
"""
