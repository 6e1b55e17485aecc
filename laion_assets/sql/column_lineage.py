"""Which columns a model's columns come from, by sqlglot. Slow enough to be done only when somebody looks."""

from collections.abc import Mapping

from laion_assets.delta.relations import duckdb_type
from laion_assets.sql.project import SOURCES, Project

Origins = Mapping[str, tuple[tuple[str, str], ...]]


def column_lineage(project: Project, name: str) -> Origins:
    """By output column, the (table or model, column) pairs that it is computed from, one step back.

    A column of constants or counts comes from none. Where sqlglot cannot follow an expression, the column is left out.
    """
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError
    from sqlglot.lineage import lineage
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.optimizer.scope import build_scope

    model = project.models[name]
    known = _schema(project, name)
    schema: dict[str, object] = {**known}
    try:
        query = qualify(
            sqlglot.parse_one(model.template.render(), dialect="duckdb"),
            schema=schema,
            dialect="duckdb",
            validate_qualify_columns=False,
            quote_identifiers=False,
        )
        scope = build_scope(query)
    except SqlglotError:
        return {}
    found = {}
    for column in model.columns:
        try:
            root = lineage(column.name, query, schema=schema, dialect="duckdb", scope=scope, copy=False)
        except (SqlglotError, ValueError):
            continue
        leaves = [node for node in root.walk() if isinstance(node.expression, exp.Table)]
        origins = {(node.expression.name, node.name.rsplit(".", 1)[-1].strip('"')) for node in leaves}
        found[column.name] = tuple(sorted((t, c) for t, c in origins if c in known.get(t, {})))
    return found


def _schema(project: Project, name: str) -> dict[str, dict[str, str]]:
    tables = {s: {c.name: duckdb_type(c.type) for c in SOURCES[s].columns} for s in project.sources(name)}
    models = {m: {c.name: c.type for c in project.models[m].columns} for m in project.upstream(name)}
    return tables | models
