"""What only this lake's tables can answer: where a pair came from, what came before a crawl, what was to be removed.

It stands on the engine (``delta``) and on the declarations (``tables``), and holds no engine of its own.
"""
