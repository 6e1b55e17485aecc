"""A builder that is killed while another is at work: the other does not wait for it."""

import socket
import time
from pathlib import Path

import dagster as dg
import pytest

from laion_assets.orchestration.runs import abandoned
from laion_assets.orchestration.runs.abandoned import BUILDER_TAG, ending_abandoned_runs


def test_a_place_that_a_builder_held_who_died_meanwhile_is_free_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abandoned, "_LOOK_SECONDS", 0.05)
    (tmp_path / "dagster.yaml").touch()
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        storage = instance.event_log_storage
        storage.set_concurrency_slots("memory", 1)

        @dg.job
        def nothing() -> None: ...

        with ending_abandoned_runs(instance):
            lock = f"{socket.gethostname()} {tmp_path / 'nobody holds it.lock'}"
            run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED, tags={BUILDER_TAG: lock})
            assert storage.claim_concurrency_slot("memory", run.run_id, "step").is_claimed
            give_up = time.monotonic() + 60
            while not storage.claim_concurrency_slot("memory", "another", "step").is_claimed:
                assert time.monotonic() < give_up, "the place is still held"
        ended = instance.get_run_by_id(run.run_id)
        assert ended is not None
        assert ended.status is dg.DagsterRunStatus.FAILURE
