"""The table of requests to remove something."""

from laion_assets.tables import groups
from laion_assets.tables.columns import COUNTS, STRING, STRINGS, TIME, column
from laion_assets.tables.declaration import Declaration

TAKEDOWNS = Declaration(
    name="takedowns",
    description="One row per request to remove an address, a site, a picture or a pair, or to withdraw one of these.",
    key=("kind", "value"),
    partition_by=("kind",),
    group=groups.PAIRS,
    code_version="1",
    reads=(),
    kinds=(),
    need=None,
    shaped_by=(),
    outside=(),
    rerun="pure",
    long=False,
    command="laion takedown KIND VALUE",
    remake="enter the requests again with `laion takedown`",
    entered="removal requests",
    is_looked_up=True,
    is_always_current=True,
    pair=None,
    funnel=None,
    short="takedowns",
    columns=(
        column("requested_at", TIME, "When removal was asked for."),
        column("kind", STRING, "What `value` names.", accepted=("url", "domain", "sha256", "pair_id", "withdrawal")),
        column(
            "value", STRING, "The url, domain, hex digest or pair_id; of a withdrawal, kind and value of the request."
        ),
        column("reason", STRING, "Why.", nullable=True),
        column("rows_removed", COUNTS, "Rows removed by table.", nullable=True, digested=False),
        column(
            "tainted_checkpoints",
            STRINGS,
            "Checkpoints trained on it: recipe, epoch, SHA-256.",
            nullable=True,
            digested=False,
        ),
        column("completed_at", TIME, "When no row and no training set held it.", nullable=True, digested=False),
    ),
)
