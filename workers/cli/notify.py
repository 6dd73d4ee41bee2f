"""``strongroom notify``: whether people would be told, tried out."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime

import typer

from strongroom.errors import ConfigurationError
from workers.cli.output import FAILED, AsJson, Data, console, hand_down, print_json, reported, settings_of, stderr, told
from workers.cli.styled import joined, styled

notify_app = typer.Typer(
    help="Tell people what is wrong, by the services of STRONGROOM_NOTIFY_URLS: docs/how-to/alerts.md.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.add_typer(notify_app, name="notify")


@notify_app.callback()
def notify(context: typer.Context, data: Data = None) -> None:
    """Take --data before the command as well."""
    hand_down(context, data)


@notify_app.command("test")
def try_out(data: Data = None, as_json: AsJson = False) -> None:
    """Send a test message to all services now, and note whether it arrived, as the daily test does. No service needs to run.

    JSON: `delivered` (at all of them), `tested_at`, and `services` (an array of `number`: its place in the setting, `service`:
    what it is, `delivered`).

    Exit codes: 0 it arrived everywhere, 1 it did not, or nobody is set.
    """
    from workers.alarm import alerts_of  # noqa: PLC0415 - SQLAlchemy costs 0.3 s, which other commands need not pay
    from workers.alarm_state import keep_alarms, load_alarms  # noqa: PLC0415

    with reported(as_json=as_json):
        settings = settings_of(data)
        alerts = alerts_of(settings)
        if not alerts.urls:
            raise ConfigurationError("STRONGROOM_NOTIFY_URLS is not set: nobody is told.", "docs/how-to/alerts.md has examples.")
        with stderr().status("sending"):
            deliveries = alerts.send("test", "Somebody ran `strongroom notify test`.", "info")
        now = datetime.now(UTC)
        if settings.data_dir.is_dir():
            state = load_alarms(settings.data_dir).of(alerts.urls)
            wrong = {code: words for code, words in state.wrong.items() if code != "alerts_failed"}
            keep_alarms(settings.data_dir, replace(state.after(deliveries, now), wrong=wrong))
    arrived = all(one.delivered for one in deliveries)
    if as_json:
        print_json({"delivered": arrived, "tested_at": now, "services": [asdict(one) for one in deliveries]})
    else:
        for one in deliveries:
            word = styled("delivered", "green") if one.delivered else styled("not delivered", "bold red")
            console().print(joined(told(f"{one.number} {one.service}  "), word))
        if not arrived:
            stderr().print("Correct that address, counted in STRONGROOM_NOTIFY_URLS from the left, and try again.")
    if not arrived:
        raise typer.Exit(FAILED)
