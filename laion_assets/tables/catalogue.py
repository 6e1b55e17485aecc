"""The catalogue: every table of the lake, from the files that declare them."""

from collections.abc import Mapping

from laion_assets.delta.catalogue import Catalogue
from laion_assets.tables import (
    consent,
    crawl,
    evaluation,
    images,
    models,
    operations,
    pairs,
    release,
    training,
)
from laion_assets.tables.declaration import Declaration, DeclarationError

_SUBJECTS = (crawl, pairs, images, release, consent, models, training, evaluation, operations)

TABLES: Mapping[str, Declaration] = {
    table.name: table for subject in _SUBJECTS for table in vars(subject).values() if isinstance(table, Declaration)
}
"""Every table by name, in the order in which data flows: that of the files, and of the declarations in each."""

for _table in TABLES.values():
    if _strangers := sorted({read.table for read in _table.reads} - {*TABLES}):
        raise DeclarationError(f"the declaration of {_table.name} reads {', '.join(_strangers)}, which nobody declares")

CATALOGUE = Catalogue(TABLES, others="`laion models run --select {table}+` builds it again")
"""All of them as the engine takes them. Tables that are not declared are those of SQL models."""
