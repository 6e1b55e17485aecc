"""The table of what the tests of SQL models found; the models declare their own tables."""

from laion_assets.tables import groups
from laion_assets.tables.columns import BOOL, LONG, STRING, TIME, column
from laion_assets.tables.declaration import Declaration

MODEL_TESTS = Declaration(
    name="model_tests",
    description="What the tests of SQL models found last, one row per test.",
    key=("model", "scope", "test"),
    partition_by=("model", "scope"),
    order_by=("test",),
    group=groups.OPERATIONS,
    code_version="",
    reads=(),
    kinds=(),
    need=None,
    shaped_by=(),
    outside=(),
    rerun="pure",
    long=False,
    command="laion models run",
    remake="`laion models run --select {model}` tests it again",
    pair=None,
    funnel=None,
    short="tests",
    columns=(
        column("model", STRING, "The SQL model."),
        column("scope", STRING, "The crawl that was tested, or `all`."),
        column("test", STRING, "Name of the test."),
        column("passed", BOOL, "Whether no row broke it."),
        column("failing_rows", LONG, "Rows that broke it."),
        column("sample", STRING, "A few of them, as a JSON list of objects.", digested=False),
        column("tested_at", TIME, "When it was tested.", digested=False),
    ),
)
