"""Groups of the graph, as data flows: pages list them by name, so the names begin with their place."""

from typing import Final

CRAWL: Final = "1_crawl"
PAIRS: Final = "2_pairs"
SQL: Final = "3_sql"
TRAINING: Final = "4_training"
EVALUATION: Final = "5_evaluation"
RELEASES: Final = "6_releases"
OPERATIONS: Final = "7_operations"
