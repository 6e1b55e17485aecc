"""``laion alerts``: whether those who are to be told of failures can be told."""

import typer

from laion_assets.cli.common import LakeOption, UsageError, complain, out, settings_of
from laion_assets.common.messages import SETTINGS, Message, NotDelivered, receivers

alerts = typer.Typer(no_args_is_help=True, help="Who is told of failed runs and checks (`LAION_ALERTS__…`).")


@alerts.callback()
def _alerts() -> None:
    """A command of its own, whatever others there will be."""


@alerts.command("test")
def trial(lake: LakeOption = None) -> None:
    """Send a trial message to everybody who is to be told. Exit code 1 if somebody cannot be reached."""
    settings = settings_of(lake)
    found = receivers(settings.alerts)
    if not found:
        raise UsageError(f"nobody is told of failures: set {SETTINGS}")
    ui = [f"the Dagster UI: {settings.alerts.ui}"] if settings.alerts.ui else []
    failed = 0
    for receiver in found:
        try:
            receiver.send(Message(f"laion: a trial message ({settings.lake})", ["nothing has failed", *ui]))
        except NotDelivered as error:
            failed += 1
            complain("failed", str(error))
        else:
            out.print(f"{receiver.shown}: a trial message was sent", highlight=False, soft_wrap=True, markup=False)
    if failed:
        raise typer.Exit(1)
