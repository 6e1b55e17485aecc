"""``dagster-webserver`` that has pages of the lake too: ``python -m laion_assets.orchestration.web.server``.

Dagster keeps for good what a run told it, so a run tells it numbers, and where to look; what is to be seen there is
made from the lake when somebody looks. It takes all options of ``dagster-webserver``, and the settings of ``laion``.
"""

from typing import TYPE_CHECKING, Any

import dagster_webserver.app
from dagster_webserver.cli import main
from dagster_webserver.webserver import DagsterWebserver
from starlette.routing import BaseRoute, Mount

from laion_assets.web.addresses import PREFIX
from laion_assets.web.routes import Pages

if TYPE_CHECKING:
    from laion_assets.web.views import Views


class LakeWebserver(DagsterWebserver[Any, Any]):
    """Dagster's pages, and the lake's below ``/laion``."""

    def build_routes(self) -> list[BaseRoute]:
        """The lake's routes first: Dagster answers whatever it does not know with its own page."""
        return [Mount(f"{self._app_path_prefix}{PREFIX}", routes=Pages(open_views).routes()), *super().build_routes()]  # type: ignore[no-untyped-call]


def open_views() -> "Views":
    """The lake that the settings of this process name. Imports what reads lakes only when somebody looks."""
    from laion_assets.orchestration.removals import current_removals, deny_lists
    from laion_assets.settings import load_settings
    from laion_assets.web.views import Views

    settings = load_settings()
    lake = settings.open_lake(create=False)
    lists = [path for paths in deny_lists(settings).values() for path in paths]
    return Views(lake, settings.models, lambda: current_removals(lake, settings), lists)


def serve() -> None:
    """What ``dagster-webserver`` does, with this server in its place."""
    vars(dagster_webserver.app)["DagsterWebserver"] = LakeWebserver  # no option and no argument names another
    main()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    serve()
