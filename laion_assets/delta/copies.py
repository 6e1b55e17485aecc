"""Whole data files that seals hold of what people entered: they go with the versions that they are copies of.

A copy heals the newest version of its partition, and no other. Once retention let go of a replaced version's files, its
seal holds what nobody can read there any more, and what may have been asked to go.
"""

from dataclasses import replace

from laion_assets.delta.lake import Lake
from laion_assets.delta.logs import log_versions
from laion_assets.delta.seals import SealDamaged, read_seal, seal_name


def forget_copies(lake: Lake, table: str) -> int:
    """Take the copies of files that are gone out of the seals of replaced versions; gives how many seals were changed.

    Raises:
        LakeError: files cannot be read or written.
    """
    if not lake.catalogue.is_entered(table):
        return 0
    newest = {commit.version for commit in lake.ledger(table).commits.values()}
    changed = 0
    for version in sorted(log_versions(lake.storage, table)[1] - newest):
        try:
            seal = read_seal(lake.storage, table, version)
        except SealDamaged:  # whoever verifies says so
            continue
        kept = {} if seal is None else {name: c for name, c in seal.copies.items() if lake.storage.exists(name)}
        if seal is not None and kept.keys() != seal.copies.keys():
            lake.storage.replace(seal_name(table, version), replace(seal, copies=kept).to_bytes(), durable=True)
            changed += 1
    return changed
