"""How a verification of the lake looks into the tars that rows name members of."""

from laion_assets.delta.scope import ArchiveCheck
from laion_assets.webdataset.verification import PictureCheck, tar_fault


def tar_check(picture: PictureCheck) -> ArchiveCheck:
    """What is wrong with a tar of pictures.

    Args:
        picture: looks whether a stored picture decodes; asked only where no digest of its tar is known.
    """
    return lambda tar, wanted, known: tar_fault(tar, wanted, None if known else picture)
