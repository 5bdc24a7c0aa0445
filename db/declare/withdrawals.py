"""Withdrawals: what a reaction asked for is wanted no more.

    yield Withdrawal(SettlePurchase, "it was refunded", purchase=event.purchase)

It names the command by the values of its `once_per`. What was not submitted is never
submitted, also if another reaction asks for it later. What was is cancelled as a person
cancels it: at once before it is signed, else when it can land no more. What lands first
stays.
"""

from typing import Any

from db.declare.commands import Command


class Withdrawal:
    """The withdrawal of a command that reactions ask for; `because` is for people."""

    def __init__(self, command: type[Command], because: str, **once: Any) -> None:
        """Check the values; raises ValueError for those that name no request."""
        spec = command.spec
        if set(once) != set(spec.once_per) or not once:
            raise ValueError(
                f"a withdrawal of {spec.name} names its once_per: "
                f"{', '.join(spec.once_per) or 'it has none'}"
            )
        self.command = command
        self.because = because
        self.values = [
            spec.fields[name].check_given(once[name]) for name in spec.once_per
        ]
