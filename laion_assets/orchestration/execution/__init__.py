"""Who runs the steps, what each step needs of them, and what happens to one that fails or wants too much."""


class ExecutorError(Exception):
    """The chosen executor cannot be had here; the message says what to do."""
