"""The catalogue: every table of the lake, from the files that declare them, and lists of those that are built."""

from collections.abc import Mapping

from laion_assets.delta.catalogue import Catalogue
from laion_assets.tables import (
    consent,
    crawl,
    evaluation,
    images,
    imports,
    models,
    operations,
    pairs,
    release,
    releases,
    scores,
    training,
)
from laion_assets.tables.declaration import Declaration, DeclarationError

_SUBJECTS = (
    imports, crawl, pairs, images, scores, release, consent, models, training, evaluation, releases, operations,
)  # fmt: skip

TABLES: Mapping[str, Declaration] = {
    table.name: table for subject in _SUBJECTS for table in vars(subject).values() if isinstance(table, Declaration)
}
"""Every table by name, in the order in which data flows: that of the files, and of the declarations in each."""

for _table in TABLES.values():
    if _strangers := sorted({read.table for read in _table.reads} - {*TABLES}):
        raise DeclarationError(f"the declaration of {_table.name} reads {', '.join(_strangers)}, which nobody declares")

CATALOGUE = Catalogue(TABLES, others="`laion models run --select {table}+` builds it again", periods_entered="imports")
"""All of them as the engine takes them. Tables that are not declared are those of SQL models."""

STAGES = tuple(name for name, table in TABLES.items() if table.code_version)
"""Every table that is built or filled by hand, upstream first."""

PER_CRAWL = CATALOGUE.by_period
"""The stages that are built crawl by crawl, in order."""

ALWAYS = tuple(name for name in PER_CRAWL if not TABLES[name].optional)
"""Those among them that every lake has."""

PER_RECIPE = tuple(name for name in STAGES if "recipe" in TABLES[name].partition_by)
"""Those that are built recipe by recipe, in order."""

PER_RELEASE = tuple(name for name in STAGES if "release" in TABLES[name].partition_by)
"""Those that are built release by release, in order."""

FUNNEL = {name: table.funnel for name, table in TABLES.items() if table.funnel is not None}
"""Those in which pairs become fewer, in order, with what each does."""

DIGESTS = frozenset(column.name for table in TABLES.values() for column in table.columns if column.is_digest)
"""Names of columns whose numbers tell one picture from all others, also where a SQL model has them."""
