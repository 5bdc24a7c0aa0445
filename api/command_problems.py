"""Errors of commands as problems of the API."""

from collections.abc import Iterator
from contextlib import contextmanager

from api.errors import Problem
from commands.arguments import BadArguments
from commands.errors import BadTransaction, NodeAway, Refused
from commands.lane import ChainRequired, NoContract, NoLane, NoSigner, OtherChain
from commands.submit import NoWallet, RulesBroken
from db.commands.errors import (
    AlreadyEnded,
    KeyReused,
    NonceConflict,
    NotCancellable,
    SignedBefore,
    TooManyWaiting,
)

_NAMES: dict[type[Exception], str] = {
    AlreadyEnded: "command_ended",
    BadTransaction: "bad_transaction",
    KeyReused: "idempotency_key_reused",
    NoContract: "not_configured",
    NoLane: "not_configured",
    NoSigner: "not_configured",
    NoWallet: "bad_arguments",
    NodeAway: "node_unavailable",
    NotCancellable: "not_cancellable",
    NonceConflict: "nonce_conflict",
    Refused: "would_revert",
    SignedBefore: "bad_transaction",
    TooManyWaiting: "queue_full",
}


@contextmanager
def as_problems() -> Iterator[None]:
    """Raise the write side's errors as Problems."""
    try:
        yield
    except BadArguments as error:
        raise Problem(
            "bad_arguments",
            f"{error}. Correct them and ask again.",
            problems=error.problems,
        ) from error
    except RulesBroken as error:
        reasons = [{"code": r.code, "reason": r.reason} for r in error.refusals]
        raise Problem("rules_broken", str(error), reasons=reasons) from error
    except (ChainRequired, OtherChain) as error:
        name = "chain_required" if isinstance(error, ChainRequired) else "unknown_chain"
        raise Problem(name, str(error), choices=list(error.choices)) from error
    except tuple(_NAMES) as error:
        for kind, name in _NAMES.items():
            if isinstance(error, kind):
                raise Problem(name, str(error)) from error
        raise
