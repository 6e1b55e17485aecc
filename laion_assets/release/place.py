"""Where a release lies: a folder of this machine, or a prefix of a bucket."""

from laion_assets.delta.errors import LakeError
from laion_assets.delta.location import open_storage
from laion_assets.delta.storage import Storage
from laion_assets.release.parts import ReleaseError


def open_place(address: str) -> Storage:
    """The files of the release at ``address``: a path or ``s3://bucket/prefix``. Nothing is asked or made yet.

    Raises:
        ReleaseError: no release can lie there.
    """
    scheme, _, rest = address.rpartition("://")
    if scheme not in ("", "file", "s3") or not rest.strip("/"):
        raise ReleaseError(f"a release lies in a folder or at s3://bucket/prefix, not at {address!r}")
    if scheme == "s3" and "@" in rest.partition("/")[0]:
        raise ReleaseError("the address of a release holds no credentials: they come from the environment (AWS_…)")
    try:
        return open_storage(address)
    except LakeError as error:
        raise ReleaseError(f"a release cannot lie at {address!r}: {error}") from error
