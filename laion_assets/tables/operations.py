"""The table of how every partition stands."""

from laion_assets.tables import groups
from laion_assets.tables.columns import STRING, TIME, column
from laion_assets.tables.declaration import Declaration
from laion_assets.tables.needs import Need

PARTITION_STATES = Declaration(
    name="partition_states",
    description="How every partition stood when it was looked at last: done, stale, missing or failed, and why.",
    key=("table_name", "partition"),
    partition_by=(),
    order_by=("table_name", "partition"),
    group=groups.OPERATIONS,
    code_version="1",
    reads=(),  # the commit records of all tables, and no rows
    kinds=("polars",),
    need=Need(),
    shaped_by=(),
    outside=(),
    rerun="pure",
    long=False,
    command="laion models run",
    remake="`laion models run`, as every build, makes it again",
    pair=None,
    funnel=None,
    short="states",
    columns=(
        column("table_name", STRING, "The table, or SQL model."),
        column("partition", STRING, "The partition, crawl=CC-MAIN-2024-10/bucket=3."),
        column("crawl", STRING, "Its crawl, where it has one.", nullable=True),
        column("state", STRING, "How it stands.", accepted=("done", "stale", "missing", "failed")),
        column("reasons", STRING, "What is not up to date.", nullable=True),
        column("judged_at", TIME, "When it was looked at.", digested=False),
    ),
)
