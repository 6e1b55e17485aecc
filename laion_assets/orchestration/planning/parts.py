"""The parts that a lake is counted by, beside the stages of crawls."""

from typing import Final, TypeAlias

from laion_assets.tables.catalogue import PER_RECIPE, TABLES
from laion_assets.tables.groups import EVALUATION

Place: TypeAlias = tuple[str, str]
"""A table and the name of one of its partitions."""

CALIBRATIONS: Final = "calibrations"
PARTITION_STATES: Final = "partition_states"
MODELS: Final = "SQL models"
TRAININGS: Final = tuple(name for name in PER_RECIPE if TABLES[name].partition_by == ("recipe",))
"""Training sets and checkpoints, one of each a recipe."""
SCORE_TABLES: Final = tuple(name for name in PER_RECIPE if name not in TRAININGS)
"""Tables of scores. Each has a partition for every benchmark, empty where the benchmark's task is not the table's."""
OVER_RECIPES: Final = tuple(
    name for name, table in TABLES.items() if table.group == EVALUATION and name not in SCORE_TABLES
)
"""What is said over all recipes, by their scores."""
SCORES: Final = (*SCORE_TABLES, *OVER_RECIPES)
