"""What a training set or a training can fail of."""


class TrainingError(Exception):
    """Something about a recipe cannot be done. The message says what was found and what to do."""
