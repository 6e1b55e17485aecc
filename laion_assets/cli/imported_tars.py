"""``laion import --tars``: what a folder of tars holds, told and recorded."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.progress import track
from rich.text import Text

from laion_assets.cli.common import UsageError, err, out
from laion_assets.common.quantities import counted

if TYPE_CHECKING:
    from laion_assets.lake.imports import ImportedFile
    from laion_assets.sources.lists.streams import Files
    from laion_assets.sources.tars.describe import TarFile


def tars_in(folder: str, said: Mapping[str, str]) -> "list[ImportedFile]":
    """The tars of a folder, each read once from end to end; what they hold is told.

    Raises:
        UsageError: there is none, or none that tells the url of a picture.
    """
    from laion_assets.orchestration.resources import open_at, s3_client
    from laion_assets.sources.lists.find import find_files
    from laion_assets.sources.lists.streams import Files
    from laion_assets.sources.sources import SourceNotFound
    from laion_assets.sources.tars.folder import ENDING

    opened = Files(open_at)
    try:
        uris = find_files([folder], s3_client=s3_client, wanted=lambda name: name.endswith(ENDING))
    except SourceNotFound as error:
        raise UsageError(f"--tars: expected a folder of tars (*{ENDING}), found none in {folder}") from error
    shown = track(uris, "reading tars", console=err, transient=True, disable=not err.is_terminal)
    looked_at = [_look_at(opened, uri, said) for uri in shown]
    found = [found for found, _ in looked_at]
    for meaning, name in said.items():
        if not any(tar.mapping.get(meaning) for tar in found):
            raise UsageError(f"--map: no sample in {folder} tells anything under {name}, which is to be the {meaning}")
    _tell(folder, found)
    return [file for _, file in looked_at]


def _look_at(opened: "Files", uri: str, said: Mapping[str, str]) -> "tuple[TarFile, ImportedFile]":
    from laion_assets.lake.imports import ImportedFile
    from laion_assets.sources.lists.errors import ListChanged
    from laion_assets.sources.tars.describe import describe_tar
    from laion_assets.sources.tars.folder import ForeignTars

    before = opened.stamp(uri)
    found = describe_tar(ForeignTars(opened, datetime.now(UTC)), uri, said)
    file = ImportedFile(
        uri=uri,
        kind="tars",
        format="tar",
        rows=found.samples,
        bytes=before.bytes,
        sha256=opened.sha256(uri),
        mapping=found.mapping,
        left_out=found.left_out,
        stamp=before.mark,
    )
    if opened.stamp(uri) != before:
        raise ListChanged(f"{uri} changed while it was read: import it once it is whole")
    return found, file


def _tell(folder: str, found: "Sequence[TarFile]") -> None:
    samples, pictures, with_url = (sum(getattr(tar, of) for tar in found) for of in ("samples", "pictures", "with_url"))
    layouts = " and ".join(sorted({tar.layout for tar in found if tar.samples})) or "no"
    held = f"{counted(len(found), 'tar')}, {counted(samples, 'sample')}, {counted(pictures, 'picture')}"
    out.print(Text(f"{folder}: {held}, {layouts} layout"), soft_wrap=True)
    faults = [tar.damage for tar in found if tar.damage]
    if faults:
        more = f", and {counted(len(faults) - 1, 'more')}" if len(faults) > 1 else ""
        out.print(Text(f"  damaged, and taken as far as they are whole: {faults[0]}{more}"), soft_wrap=True)
    if not with_url:
        raise UsageError(
            f"--tars: no sample in {folder} tells the url of its picture, which is half of a pair's name: expected "
            "it as `url` in KEY.json, or in the Parquet file beside each tar; `--map url=NAME` says what else it is "
            "called"
        )
    taken = {meaning: name for tar in found for meaning, name in tar.mapping.items()}
    left_out = sorted({name for tar in found for name in tar.left_out})
    out.print(Text(f"  taken: {', '.join(f'{m} from {n}' for m, n in taken.items())}"), soft_wrap=True)
    out.print(Text(f"  left out: {', '.join(left_out) or 'nothing'}"), soft_wrap=True)
    if pictures > with_url:
        out.print(Text(f"  {counted(pictures - with_url, 'picture')} without a url: no pairs, counted as no_url"))
    if "original_sha256" in taken:
        out.print(Text("  sha256 is of the pictures as they were downloaded; these were encoded anew"), soft_wrap=True)
    if taken.keys() & {"expected_sha256", "expected_md5"}:
        out.print(Text("  pictures are as they were downloaded: each is held against its digest"), soft_wrap=True)
