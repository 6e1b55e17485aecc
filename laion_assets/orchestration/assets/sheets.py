"""Contact sheets of pairs for Dagster's pages: which pictures, with what said about them."""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

import dagster as dg

from laion_assets.charts.contact_sheet import Sample, contact_sheet
from laion_assets.common.duck import quoted
from laion_assets.images.thumbnail import strip
from laion_assets.orchestration.assets.pictures import glance
from laion_assets.orchestration.assets.step import Step
from laion_assets.webdataset.samples import read_pictures

PER_SHEET = 16
_AT_A_GLANCE = 6


def pair_sheets(step: Step, kept: Path, dropped: Path) -> Mapping[str, dg.MetadataValue]:
    """A sheet of kept pairs and one of dropped pairs; needs the view ``images`` in the step's engine."""
    sheets = {
        "kept": (kept, "subset", "'similarity ' || printf('%.3f', similarity)"),
        "dropped": (dropped, "reason", "reason || coalesce(printf(' %.3f', similarity), '')"),
    }
    shown: dict[str, dg.MetadataValue] = {}
    for name, (file, stratum, note) in sheets.items():
        samples = _samples(step, f"read_parquet({quoted(file)})", stratum, note)
        first = [sample.image for sample in samples if sample.image is not None][:_AT_A_GLANCE]
        shown |= {**glance(name, strip(first), "pictures"), name: dg.MetadataValue.md(contact_sheet(samples))}
    return shown


def _samples(step: Step, pairs: str, stratum: str, note: str) -> list[Sample]:
    """Some pairs with their pictures: one of each stratum before a second of any."""
    rows = step.build.con.execute(f"""
        SELECT pair.text, {note} AS note, image.shard_path, image.sample_key
        FROM (SELECT *, row_number() OVER (PARTITION BY {stratum} ORDER BY pair_id) AS place
              FROM {pairs}) AS pair
        LEFT JOIN images AS image ON image.url = pair.url
        ORDER BY place, pair_id LIMIT {PER_SHEET}
    """).fetchall()
    pictures: dict[tuple[str, str], bytes] = {}
    located = sorted((row[2], row[3]) for row in rows if row[2])
    for tar, keys in groupby(located, key=lambda place: place[0]):
        with step.lake.storage.local(tar) as file:
            read = read_pictures(file, [key for _, key in keys])
        pictures.update({(tar, key): content for key, content in read.items()})
    return [Sample(pictures.get((tar, key)), text, str(note)) for text, note, tar, key in rows]
