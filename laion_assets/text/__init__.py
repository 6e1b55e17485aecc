"""Alt text: normalisation, language identification, and the patterns text policies are made of.

Everything here takes and returns polars columns. What a text is allowed to look like is policy and lives in ``pairs``;
where texts come from is ``crawl``.
"""
