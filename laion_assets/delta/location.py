"""From what people call the place of a lake to its storage."""

import re
from pathlib import Path

from laion_assets.delta.errors import LakeError
from laion_assets.delta.folder import FolderStorage
from laion_assets.delta.storage import Storage

# delta-rs makes a url of a table's path: with some of these it panics, with others it goes elsewhere. DuckDB expands
# patterns, takes `name=value` for a partition, and decodes what delta-rs has encoded twice, whatever follows a `%`.
_UNUSABLE = re.compile(r"[\[\]{}^|*?#=%\x00-\x1f\x7f\ud800-\udfff]|\\")


def open_storage(uri: str) -> Storage:
    """The files of the lake at ``uri``: a path, ``file://…`` or ``s3://bucket/prefix``. Nothing is asked or made yet.

    Raises:
        LakeError: no lake can be there.
    """
    scheme, _, rest = uri.rpartition("://")
    if scheme not in ("", "file", "s3"):
        raise LakeError(f"a lake is a folder or s3://bucket/prefix, not {uri!r}: set LAION_LAKE to one of them")
    root = str(Path(rest).expanduser().resolve()) if scheme != "s3" else f"s3://{rest.strip('/')}"
    unusable = _UNUSABLE.search(root)
    if unusable is not None:
        raise LakeError(
            f"tables cannot be written below {root!r}: {unusable[0]!r} in it; choose another path for the lake"
        )
    if scheme != "s3":
        return FolderStorage(Path(root))
    from laion_assets.delta.bucket import BucketStorage  # its clients are of no use to a lake in a folder

    return BucketStorage(root)
