"""What is due of a release: what it is made of, and the files of its parts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from laion_assets.orchestration.planning.waves import RequestError, Site, Task, Wave, stage_wave
from laion_assets.orchestration.run_tags import RELEASE_TAG
from laion_assets.release.begun import begun_release, is_whole
from laion_assets.release.build import ensure_free
from laion_assets.release.options import ReleaseOptions, Terms, checked_name, usual_terms
from laion_assets.release.parts import ReleaseError
from laion_assets.release.place import open_place
from laion_assets.release.selection import RELEASING
from laion_assets.release.writers import formats_of
from laion_assets.sql.selection import selection_stage


@dataclass(frozen=True, kw_only=True)
class ReleaseRequest:
    """A release: begun where it is not there, and gone on with where it is not whole."""

    name: str
    options: ReleaseOptions

    def names(self, site: Site) -> Mapping[str, Sequence[str]]:
        """The release.

        Raises:
            RequestError: it cannot be made, or another one has its name.
            LakeError: there is nothing that it could be selected from.
        """
        try:
            checked_name(self.name)
            self._terms(site)
        except ReleaseError as error:
            raise RequestError(str(error)) from error
        return {"release": [self.name]}

    def _terms(self, site: Site) -> Terms:
        begun = begun_release(site.lake, self.name)
        usual = usual_terms(self.name, self.options)
        terms = self.options.terms(self.name, usual, None if begun is None else begun.terms)
        formats_of(terms.formats, pictures=terms.has_pictures)
        place = open_place(terms.destination)
        if begun is None:
            selection_stage(site.project, terms.source, RELEASING)
            if place.uri == site.lake.uri or place.uri.startswith(f"{site.lake.uri}/"):
                raise ReleaseError(f"--to: {place.uri} is in the lake: choose a place beside it")
            ensure_free(place)
        return terms

    def waves(self, site: Site) -> Iterator[Wave]:
        """A wave for each table."""
        partition = {"release": self.name}
        missing = site.lake.commit("releases", partition) is None
        tags = {RELEASE_TAG: self.options.to_text()}

        def due(_: object) -> bool:
            return site.lake.commit("releases", partition) is None

        yield stage_wave(site, "releases", [partition] if missing else [], due, total=int(missing), tags=tags)
        release = begun_release(site.lake, self.name)
        if release is None or is_whole(site.lake, release, open_place(release.terms.destination)):
            return
        # All parts in one run: Dagster sees them as one partition, which no other build is asked about.
        task = Task(("release_files",), partition)
        yield Wave(part="release_files", tasks=[task], total=1, needs=lambda *_: [("releases", f"release={self.name}")])
