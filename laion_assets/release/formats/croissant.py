"""Croissant 1.1: what a release holds and where it comes from, for machines; with RAI's words and PROV-O's."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import msgspec
import pyarrow as pa

from laion_assets.common.files import write_file
from laion_assets.release.facts import CrawlFacts, ReleaseFacts
from laion_assets.release.formats import clip_retrieval, laion, webdataset, words
from laion_assets.release.formats.columns import MEANINGS
from laion_assets.release.parts import Part, ReleasedFile

FILE: Final = "croissant.json"

# The specification's own (1.1, appendix 1), what mlcroissant 1.1.1 warns about if it is missing, and PROV-O.
_CONTEXT: Final[dict[str, Any]] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{
        name: f"cr:{name}"
        for name in (
            "annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "excludes", "extract",
            "field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset",
            "jsonPath", "key", "md5", "parentField", "path", "readLines", "recordSet", "references", "regex",
            "repeated", "replace", "samplingRate", "sdVersion", "separator", "source", "subField", "transform",
            "unArchive", "value",
        )
    },
}  # fmt: skip
# The one type under which mlcroissant loads Parquet; it accepts others, and then fails.
_PARQUET: Final = "application/x-parquet"
_TYPES: Final = {
    pa.string(): "sc:Text", pa.int32(): "cr:Int32", pa.int64(): "cr:Int64", pa.float32(): "cr:Float32",
    pa.float64(): "cr:Float64",
}  # fmt: skip
_COMMON_CRAWL: Final = re.compile(r"CC-MAIN-\d{4}-\d{2}")


@dataclass(frozen=True)
class Croissant:
    """``croissant.json``: sets of files, and a set of records for each kind of table among them."""

    name: str = "croissant"
    code_version: str = "1"
    needs_embeddings: bool = False
    needs_pictures: bool = False

    def write_part(self, part: Part, folder: Path) -> None:
        """Nothing: it is about the whole."""

    def write_whole(self, facts: ReleaseFacts, files: Sequence[ReleasedFile], folder: Path) -> None:
        """Write the description."""
        described = msgspec.json.format(msgspec.json.encode(describe(facts, files)), indent=2)
        write_file(folder / FILE, described + b"\n")


def describe(facts: ReleaseFacts, files: Sequence[ReleasedFile]) -> dict[str, Any]:
    """The description as JSON-LD."""
    sets, records = _contents(facts, files)
    begun = facts.created_at
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": facts.name,
        "description": facts.description or "Image-text pairs from the web.",
        "url": facts.url or f"urn:release:{facts.name}",
        "license": facts.license_link or _licence(facts.license),
        "creator": {"@type": "sc:Organization", "name": facts.creator},
        "datePublished": begun.date().isoformat(),
        "version": f"{begun.year}.{begun.month}.{begun.day}",
        "citeAs": f"{facts.creator}: {facts.name}, {begun.year}",
        "keywords": ["image-text pairs", "web", "CLIP", "LAION"],
        "inLanguage": sorted(code for code in facts.languages if code != "nolang"),
        **_provenance(facts),
        **_responsibility(facts),
        "distribution": sets,
        "recordSet": records,
    }


def _licence(name: str) -> str:
    """The page of a licence that has an identifier; its name otherwise."""
    return f"https://spdx.org/licenses/{name}.html" if name.lower() in words.LICENSES else name


def _contents(facts: ReleaseFacts, files: Sequence[ReleasedFile]) -> tuple[list[Any], list[Any]]:
    """The sets of files that there are, and their records."""
    folders = {str(PurePosixPath(file.path).parent) for file in files}
    sets: list[Any] = []
    records: list[Any] = []
    if any(folder.partition("/")[0] == laion.FOLDER for folder in folders):
        sets.append(_files("list", f"{laion.FOLDER}/*/*.parquet", _PARQUET, "The list, by language group."))
        records.append(_records("pairs", "list", laion.SCHEMA, facts, "One record a pair."))
    if webdataset.FOLDER in folders:
        inside = webdataset.FOLDER
        sets.append(_files("tars", f"{inside}/*.tar", "application/x-tar", "The pictures, with text and JSON."))
        sets.append(_files("samples-of-tars", f"{inside}/*.parquet", _PARQUET, "What is in the tars."))
        told = "One record a picture, with its key in the tar of the same name."
        records.append(_records("samples", "samples-of-tars", webdataset.SCHEMA, facts, told))
    for folder in sorted(folders):
        if folder.startswith(f"{clip_retrieval.FOLDER}/") and folder.endswith("/metadata"):
            encoder = PurePosixPath(folder).parts[1]
            parent = f"{clip_retrieval.FOLDER}/{encoder}"
            for kind in ("img_emb", "text_emb"):
                told = f"Vectors by {encoder}: float16, of length 1, in the order of the metadata."
                sets.append(_files(f"{encoder}-{kind}", f"{parent}/{kind}/*.npy", "application/octet-stream", told))
            told = f"The pairs of the vectors by {encoder}, in order."
            sets.append(_files(f"{encoder}-metadata", f"{parent}/metadata/*.parquet", _PARQUET, told))
            records.append(_records(f"vectors-of-{encoder}", f"{encoder}-metadata", clip_retrieval.SCHEMA, facts, told))
    return sets, records


def _files(identifier: str, includes: str, encoding: str, told: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": identifier,
        "name": identifier,
        "description": f"{told} manifest.json has the SHA-256 of each file.",
        "encodingFormat": encoding,
        "includes": includes,
    }


def _records(identifier: str, files: str, schema: pa.Schema, facts: ReleaseFacts, told: str) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": identifier,
        "name": identifier,
        "description": told,
        "key": {"@id": f"{identifier}/pair_id"},
        "field": [_field(identifier, files, field, facts) for field in schema],
    }


def _field(records: str, files: str, field: pa.Field, facts: ReleaseFacts) -> dict[str, Any]:
    measured = {"prov:wasAttributedTo": _encoders(facts)} if field.name == "similarity" and facts.encoders else {}
    return {
        "@type": "cr:Field",
        "@id": f"{records}/{field.name}",
        "name": field.name,
        "description": MEANINGS[field.name],
        "dataType": "sc:URL" if field.name.lower() in ("url", "page_url") else _TYPES[field.type],
        "source": {"fileSet": {"@id": files}, "extract": {"column": field.name}},
        **measured,
    }


def _encoders(facts: ReleaseFacts) -> list[dict[str, Any]]:
    return [
        {
            "@id": f"urn:sha256:{encoder.sha256}",
            "@type": "prov:SoftwareAgent",
            "prov:label": f"{encoder.name}, {encoder.precision}, weights with SHA-256 {encoder.sha256}",
        }
        for encoder in facts.encoders
    ]


def _provenance(facts: ReleaseFacts) -> dict[str, Any]:
    """Derived from the crawls, made by each stage's code, with the encoders' help."""
    stages = [
        {
            "@id": f"urn:table:{table}:{facts.versions.get(table, 'unknown')}",
            "@type": "prov:Activity",
            "prov:label": f"{table}, made by version {facts.code_versions.get(table, 'unknown')} of its code",
        }
        for table in sorted({*facts.versions, *facts.code_versions})
    ]
    selected = f"{facts.source} where {facts.where}" if facts.where else facts.source
    release = {
        "@id": f"urn:release:{facts.name}:selection",
        "@type": "prov:Activity",
        "prov:label": f"selected from {selected}",
        "prov:startedAtTime": facts.created_at.isoformat(),
        "prov:wasAssociatedWith": _encoders(facts),
    }
    return {
        "prov:wasDerivedFrom": [_crawl(crawl) for crawl in facts.crawls],
        "prov:wasGeneratedBy": [*stages, release],
        "prov:wasAttributedTo": {"@type": "prov:Organization", "prov:label": facts.creator},
    }


def _crawl(crawl: CrawlFacts) -> dict[str, Any]:
    """A crawl; one of Common Crawl's by the address that its own Croissant description gives it."""
    is_common = _COMMON_CRAWL.fullmatch(crawl.name)
    address = f"https://data.commoncrawl.org/crawl-data/{crawl.name}/index.html"
    said: dict[str, Any] = {
        "@id": address if is_common else f"urn:crawl:{crawl.name}",
        "@type": "prov:Entity",
        "prov:label": crawl.name,
        "prov:atLocation": crawl.source,
    }
    if crawl.last_capture is not None:
        said["prov:generatedAtTime"] = crawl.last_capture.isoformat()
    if is_common:
        said["prov:wasAttributedTo"] = {
            "@id": "https://commoncrawl.org/",
            "@type": "prov:Organization",
            "prov:label": "The Common Crawl Foundation",
        }
    return said


def _responsibility(facts: ReleaseFacts) -> dict[str, Any]:
    """What the RAI vocabulary asks about, as far as it is so."""
    captures = [time for crawl in facts.crawls for time in (crawl.first_capture, crawl.last_capture) if time]
    dropped = "; ".join(
        f"{table}: " + ", ".join(f"{reason} {rows:,}" for reason, rows in reasons.items())
        for table, reasons in facts.drops.items()
        if reasons
    )
    frame = {"rai:dataCollectionTimeframe": [min(captures).isoformat(), max(captures).isoformat()]} if captures else {}
    return {
        "rai:dataCollection": "Links to pictures with alternative texts, taken from pages of web crawls, or from lists "
        "that were imported; the pictures were downloaded once.",
        "rai:dataCollectionType": ["Web Scraping"],
        **frame,
        "rai:dataCollectionMissingData": f"Left out on the way, rows by reason. {dropped}"
        if dropped
        else "Not counted.",
        "rai:dataCollectionRawData": "HTML pages of the crawls, and the pictures that they link to.",
        "rai:dataPreprocessingProtocol": [
            "Texts repaired (ftfy) and folded; languages by fastText lid.176; one pair for each url and text.",
            f"Filter policies: {', '.join(facts.policies) or 'none'}.",
            *(
                f"{entry.subset}: similarity at least {entry.threshold:.4f} by {entry.encoder}"
                for entry in facts.thresholds
            ),
        ],
        "rai:machineAnnotationTools": [
            "fastText lid.176 (language)",
            *(
                f"{encoder.name} ({encoder.precision}; pictures prepared by {encoder.preprocess})"
                for encoder in facts.encoders
            ),
        ],
        "rai:dataUseCases": ["Research on image-text models: training, filtering, search, and audits of such data."],
        "rai:dataLimitations": list(words.LIMITS),
        "rai:dataBiases": list(words.BIASES),
        "rai:personalSensitiveInformation": list(words.PERSONAL),
        "rai:dataSocialImpact": "Models trained on it may repeat what the web says of people, and know some.",
        "rai:dataReleaseMaintenancePlan": words.maintenance(facts),
    }
