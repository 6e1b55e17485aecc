"""The front door: what Dagster loads, with the settings of its environment."""

import dagster as dg

from laion_assets.common.logs import configure_logs
from laion_assets.orchestration.code_location import build_definitions
from laion_assets.settings import load_settings


def _loaded() -> dg.Definitions:
    settings = load_settings()
    configure_logs(settings.log_format, settings.log_level)
    return build_definitions(settings)


defs = _loaded()
