"""The states of a command, and the one table of legal moves."""

import enum


class State(enum.StrEnum):
    """The state of a command; the last six are final and are never left."""

    ACCEPTED = "accepted"
    HELD = "held"
    SLOTTED = "slotted"
    SIGNED = "signed"
    INCLUDED = "included"
    CLOSING = "closing"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUCCEEDED = "succeeded"
    REVERTED = "reverted"
    CANCELLED = "cancelled"
    DROPPED = "dropped"


class Closing(enum.StrEnum):
    """The reason to use a slot up by a transaction that does nothing."""

    NO = ""
    CANCEL = "cancel"
    DEADLINE = "deadline"
    REFUSED = "refused"


class Hold(enum.StrEnum):
    """The reason why a signer takes no nonces; it ends without an operator."""

    NO = ""
    FUNDS = "funds"
    BUDGET = "budget"
    CEILING = "ceiling"
    STOPPED = "stopped"
    REFUSED = "refused"
    SIGNER_UNAVAILABLE = "signer-unavailable"
    POOL = "pool"
    UNWANTED = "unwanted"
    OTHER_CHAIN = "other-chain"
    FAR = "far-nonce"


# What a person may do about each; without it the signer tries on all the same.
REMEDIES: dict[Hold, str] = {
    Hold.FUNDS: "send money to the signer's address",
    Hold.BUDGET: "raise gas_per_day of the signer, or wait for the next day (UTC)",
    Hold.CEILING: "raise gas_price_max of the signer, or wait for a lower price",
    Hold.STOPPED: "run `chainfold sign resume`",
    Hold.REFUSED: "correct the signer's rules under [signers.<name>]",
    Hold.SIGNER_UNAVAILABLE: "check the signing process: `chainfold sign serve`",
    Hold.POOL: "wait: the node has no room for more transactions",
    Hold.UNWANTED: (
        "correct what the node names, or give the nonce up: "
        "`chainfold command cancel <id>`"
    ),
    Hold.OTHER_CHAIN: "correct `rpc` of the chain: it leads to a node of another one",
    Hold.FAR: (
        "wait until the index has read what used the nonces before, or run "
        "`chainfold sign resume <name> --nonce N` where the keys are"
    ),
}


# So many nonces ahead of the last that is known is too far to be believed.
FAR_NONCES = 256

TERMINAL = frozenset(
    {
        State.REJECTED,
        State.EXPIRED,
        State.SUCCEEDED,
        State.REVERTED,
        State.CANCELLED,
        State.DROPPED,
    }
)

_ENDS = {State.SUCCEEDED, State.REVERTED, State.CANCELLED, State.EXPIRED}

MOVES: dict[State, frozenset[State]] = {
    State.ACCEPTED: frozenset(
        {
            State.HELD,
            State.SLOTTED,
            State.SIGNED,  # by the client's wallet, which takes its own nonces
            State.INCLUDED,
            State.REJECTED,
            *_ENDS,
        }
    ),
    State.HELD: frozenset({State.ACCEPTED, State.CANCELLED, State.EXPIRED}),
    State.SLOTTED: frozenset(
        {State.SIGNED, State.CLOSING, State.ACCEPTED, State.INCLUDED, *_ENDS}
    ),
    State.SIGNED: frozenset(
        {State.INCLUDED, State.CLOSING, State.ACCEPTED, State.DROPPED, *_ENDS}
    ),
    State.CLOSING: frozenset(
        {State.INCLUDED, State.ACCEPTED, State.HELD, State.DROPPED, *_ENDS}
    ),
    State.INCLUDED: frozenset(
        {State.SIGNED, State.CLOSING, State.ACCEPTED, State.DROPPED, *_ENDS}
    ),
}


class IllegalMove(Exception):
    """A bug: a transition that the table of moves does not know."""


def check_move(old: State, new: State) -> None:
    """Raise IllegalMove unless a command may go from one state to the other."""
    if new not in MOVES.get(old, frozenset()):
        raise IllegalMove(f"a command cannot go from {old} to {new}")
