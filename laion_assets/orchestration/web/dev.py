"""``dagster dev`` with the lake's web server: ``python -m laion_assets.orchestration.web.dev``."""

from laion_assets.orchestration.dagster_internals import dev_command_with

if __name__ == "__main__":
    dev_command_with("laion_assets.orchestration.web.server")()
