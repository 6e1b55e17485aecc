"""A lake of one crawl that keeps what it needs in itself, at a place of its own, used by its path alone."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from laion_assets.clip.options import EncoderOptions
from laion_assets.sample.encoder import MODEL_CONFIGS, write_calibration
from laion_assets.sample.options import CRAWLS
from laion_assets.settings import write_lake_settings
from tests.pipeline.conftest import Web
from tests.warm import PYTHONPATH, run_laion

FIRST, SECOND = CRAWLS
DOWNLOADS = {
    "LAION_DOWNLOAD__ALLOWED_NETWORKS": '["127.0.0.0/8", "::1/128"]',
    "LAION_DOWNLOAD__TIMEOUT_SECONDS": "2",
    "LAION_DOWNLOAD__DEADLINE_SECONDS": "4",
    "LAION_DOWNLOAD__RETRIES": "0",
    "LAION_DOWNLOAD__CONNECTIONS_PER_HOST": "64",
    "LAION_DOWNLOAD__MIN_IMAGE_SIZE": "8",
}


@dataclass(frozen=True)
class Place:
    """A folder with a lake and a Dagster home; ``laion`` is run there with the lake's path and nothing else."""

    folder: Path

    @property
    def lake(self) -> Path:
        return self.folder / "lake"

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAION_", "DAGSTER_"))}
        own = {"PYTHONPATH": PYTHONPATH, "COLUMNS": "200", "LAION_LAKE": str(self.lake)}
        return run_laion(arguments, kept | own | settings, self.folder)

    def good(self, *arguments: str, **settings: str) -> str:
        ran = self.run(*arguments, **settings)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def states(self, **settings: str) -> dict[str, int]:
        """How many partitions stand how."""
        found: dict[str, int] = {}
        for counts in json.loads(self.good("status", "--json", **settings))["stages"].values():
            for state, partitions in counts.items():
                found[state] = found.get(state, 0) + partitions
        return {state: partitions for state, partitions in found.items() if partitions}

    def moved(self, target: Path) -> "Place":
        """All of it somewhere else; nothing is left where it was."""
        shutil.move(self.folder, target)
        assert not self.folder.exists()
        return Place(target)


def build_first_crawl(folder: Path, small_web: Web, encoder: EncoderOptions) -> Place:
    """Build a lake of one crawl that keeps its encoder, its calibration and a deny list in itself."""
    place = Place(folder)
    kept = place.lake / "files" / "encoders"
    kept.mkdir(parents=True)
    shutil.copy(encoder.pretrained, kept / "untrained.safetensors")
    shutil.copy(Path(MODEL_CONFIGS) / f"{encoder.model}.json", kept)
    write_calibration(kept / "calibration.parquet", 120)
    (place.lake / "deny.txt").write_text("nowhere.example\n")
    write_lake_settings(
        str(place.lake),
        DOWNLOADS
        | {
            "LAION_SHARDS": "1",
            "LAION_BUCKETS": "1",
            "LAION_SOURCE": str(small_web.root),
            "LAION_FILTER__POLICY": "none",
            "LAION_ENCODER__MODEL": encoder.model,
            "LAION_ENCODER__PRETRAINED": str(kept / "untrained.safetensors"),
            "LAION_ENCODER__MODEL_CONFIGS": str(kept),
            "LAION_CALIBRATION__PAIRS": str(kept / "calibration.parquet"),
            "LAION_DENY__DOMAIN_LISTS": str(place.lake / "deny.txt"),
        },
    )
    place.good("build", FIRST)
    assert place.states() == {"done": 7}
    return place
