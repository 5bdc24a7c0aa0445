"""`notice`: what people were told, trying again, and trying a channel out."""

from datetime import UTC, datetime

import click

from db import notices
from db.notices import NoticeState
from ops.cli.context import CliState, pass_state
from ops.errors import OperationError
from ops.notifying import NotSent, channel_url, deliver, mail_url

STATES = [each.value for each in NoticeState]


@click.group()
def notice() -> None:
    """List notices, send one again, and try a channel out."""


@notice.command(name="list")
@click.option("--state", "wanted", type=click.Choice(STATES), help="Of this state.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True)
@pass_state
def notice_list(state: CliState, wanted: str | None, limit: int) -> None:
    """List the last notices: to whom, how far they are, and why not further."""
    with state.reading() as engine, engine.connect() as connection:
        found = notices.latest(
            connection, limit=limit, state=NoticeState(wanted) if wanted else None
        )
    for each in found:
        tried = f", tried {each.attempts} times" if each.attempts > 1 else ""
        click.echo(
            f"{each.id}  {each.asked_at:%Y-%m-%d %H:%M}  {each.state}{tried}  "
            f"{each.name} to {each.kind} {each.recipient}"
        )
        if each.reason:
            click.echo(f"    {each.reason}")
    if not found:
        click.echo("there are none")


@notice.command(name="retry")
@click.argument("number", type=int)
@pass_state
def notice_retry(state: CliState, number: int) -> None:
    """Try notice NUMBER again, which failed or was not sent for want of settings."""
    with state.database() as engine, engine.begin() as connection:
        done = notices.retry(connection, number, datetime.now(UTC))
    if not done:
        raise OperationError(
            f"notice {number} did not fail: `chainfold notice list --state failed` "
            "shows those that did"
        )
    click.echo(f"{number} is sent as soon as `chainfold work` or `run` is at work")


@notice.command(name="test")
@click.argument("channel", required=False)
@click.option("--to", help="Write an e-mail to this address instead.")
@pass_state
def notice_test(state: CliState, channel: str | None, to: str | None) -> None:
    """Send a message to CHANNEL of the settings, or by e-mail, and tell how it went."""
    chosen = state.settings.notifications
    if (channel is None) == (to is None):
        raise OperationError("say a channel of the settings, or --to and an address")
    try:
        url = channel_url(chosen, channel) if channel else mail_url(chosen, to or "")
        text = "This is a test: notices of Chainfold arrive here."
        deliver(url, "A test of notices", text, (to,) if to else ())
    except NotSent as error:
        raise OperationError(f"it was not sent: {error}") from None
    click.echo(f"sent to {channel or to}")
