"""What a model's SQL names, by sqlglot: tables that nobody declared, and what would make its rows depend on more than
its inputs.
"""

from collections.abc import Collection

from laion_assets.sql.errors import Fault
from laion_assets.sql.template import Template

_CHANGING = {
    "rand", "random", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "now", "today", "current_timestamp",
    "currenttimestamp", "current_date", "currentdate", "currenttime", "transaction_timestamp", "get_current_timestamp",
    "get_current_time", "nextval", "setseed", "getenv",
}  # fmt: skip
_GENERATORS = {"unnest", "range", "generate_series", "generateseries", "values"}


def check_sql(template: Template, *, tables: Collection[str], models: Collection[str]) -> list[Fault]:
    """Every fault that can be seen without knowing columns.

    Args:
        template: the file.
        tables: names of the lake's tables.
        models: names of all models.
    """
    import sqlglot
    from sqlglot import exp

    sql = template.render()
    try:
        statements = [s for s in sqlglot.parse(sql, dialect="duckdb") if s is not None]
    except sqlglot.errors.ParseError as error:
        found = error.errors[0] if error.errors else {}
        near = f" near `{found['highlight']}`" if found.get("highlight") else ""
        return [Fault(template.file, found.get("line") or 1, f"{found.get('description', error)}{near}")]
    except sqlglot.errors.TokenError as error:
        return [Fault(template.file, 1, str(error).split("\n")[0])]
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        return [Fault(template.file, 1, "expected one SELECT and nothing else")]
    nodes = list(statements[0].walk())
    named = {reference.name for reference in template.references}
    named |= {node.alias for node in nodes if isinstance(node, exp.CTE)}
    faults = []
    for node in nodes:
        if isinstance(node, exp.Table):
            faults += _check_table(template, node, named, tables, models)
        elif isinstance(node, exp.TableSample):
            faults.append(Fault(template.file, _line(node), "a sample gives other rows each time: choose by a hash"))
        elif isinstance(node, exp.Func):
            name = (node.name if isinstance(node, exp.Anonymous) else node.key).lower()
            if name in _CHANGING:
                message = f"{name}() gives other rows each time: a model's rows depend on its inputs alone"
                faults.append(Fault(template.file, _line(node), message))
    return faults


def _check_table(
    template: Template, node: object, named: Collection[str], tables: Collection[str], models: Collection[str]
) -> list[Fault]:
    from sqlglot import exp

    assert isinstance(node, exp.Table)
    if isinstance(node.this, exp.Func):
        function = node.this.name if isinstance(node.this, exp.Anonymous) else node.this.sql_name()
        if str(function).lower() in _GENERATORS:
            return []
        message = f"{str(function).lower()}() reads what is no table of the lake: its lineage would be lost"
        return [Fault(template.file, _line(node), message)]
    name = node.name
    if name in named and not node.db:
        return []
    if name in tables:
        remedy = f"write {{{{ source('{name}') }}}}"
    elif name in models:
        remedy = f"write {{{{ ref('{name}') }}}}"
    else:
        remedy = "there is no table and no model of that name"
    return [Fault(template.file, _line(node), f"{node.sql(dialect='duckdb')} is not declared: {remedy}")]


def _line(node: object) -> int:
    from sqlglot import exp

    assert isinstance(node, exp.Expr)
    lines = [inner.meta["line"] for inner in node.walk() if "line" in inner.meta]
    parent = node.parent
    while not lines and parent is not None:
        lines = [inner.meta["line"] for inner in parent.walk() if "line" in inner.meta]
        parent = parent.parent
    return min(lines) if lines else 1
