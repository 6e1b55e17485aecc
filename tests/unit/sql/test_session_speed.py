"""How long a session takes to open, when there is much to open."""

import subprocess
import sys
from pathlib import Path

from laion_assets.lake.opening import open_lake
from laion_assets.sql.ledger import LEDGER
from laion_assets.sql.project import SOURCES
from laion_assets.tables.catalogue import TABLES
from tests.filled import fill
from tests.unit.sql.model_files import write_model

VIEWS = 60
SECONDS = 0.5
TRIES = 3
OPEN = """
import sys, time
from pathlib import Path
import duckdb
from laion_assets.lake.opening import lake_at
from laion_assets.sql.session import connect

lake = lake_at(sys.argv[1])
begun = time.process_time()
con = connect(lake, models=Path(sys.argv[2]))
took = time.process_time() - begun
print(took, con.sql("SELECT count(*) FROM duckdb_views() WHERE NOT internal").fetchone()[0])
"""


def project_with_views(folder: Path, count: int) -> Path:
    """Models that join tables, and every third of them a model too: as real ones do."""
    for number in range(count):
        other = f"{{{{ ref('model_{number - 1}') }}}}" if number % 3 == 2 else "{{ source('images') }}"
        sql = f"""
            SELECT pair.crawl, pair.bucket, pair.url, count(*) AS pairs
            FROM {{{{ source('unique_pairs') }}}} AS pair JOIN {other} AS other
                ON other.crawl = pair.crawl AND other.bucket = pair.bucket AND other.url = pair.url
            JOIN {{{{ source('filtered_pairs') }}}} AS kept ON kept.crawl = pair.crawl AND kept.bucket = pair.bucket
            GROUP BY ALL
        """
        write_model(folder, f"model_{number}", sql, header="materialized: view")
    return folder


def test_a_session_with_60_views_opens_in_half_a_second(tmp_path):
    """In a fresh process, as `laion sql` opens it; processor time, because other tests run beside it."""
    lake = open_lake(str(tmp_path / "lake"))
    for name in TABLES:
        fill(lake, name, 2)
    project = project_with_views(tmp_path / "project", VIEWS - len(SOURCES))
    took = []
    for _ in range(TRIES):
        ran = subprocess.run(
            [sys.executable, "-c", OPEN, lake.root, project], capture_output=True, text=True, check=True
        )
        seconds, found = ran.stdout.split()
        assert int(found) == VIEWS + len(LEDGER)
        took.append(float(seconds))
    assert min(took) < SECONDS
