"""Token movements: what token accounts gained and lost, whichever program moved it.

    class Held(Projection):
        "What a token account holds."

        account = Key()
        balance = Sum(TokenMoved.amount)

A transaction says how much each of its token accounts held before it and after it. Each
difference is a fact, in the token's smallest unit: what arrived, so that a transfer fee
of Token-2022 is not in it, and what moved and came back is none. Where an account has
another owner or another mint after a transaction, all that it held left the one and
what it holds arrived at the other; closing an account is leaving alone.

The emitter is `Tokens()`; a class body that names it as its source declares the same
under other names, with `name = "TokenMoved"`. `[chains.<name>.tokens]` says in which
transactions: those that name one of its addresses. In these every movement is a fact,
of accounts that nobody follows too, so what was read does not depend on what is
followed besides. The sum of an account's amounts is its balance if the account itself
is followed from its first slot on.
"""

from db.declare.events import Event
from db.declare.fields import Int, Pubkey, Uint
from db.declare.solana.program import Program
from idl import Idl
from idl.model import EventLayout
from idl.types import PUBKEY, FieldLayout, Primitive

TOKENS = "tokens"  # the emitter's name

# As `indexer.solana.movements` writes it: nothing in front of the fields.
_LAYOUT = EventLayout(
    "TokenMoved",
    b"",
    (
        FieldLayout("account", PUBKEY),
        FieldLayout("owner", PUBKEY),
        FieldLayout("mint", PUBKEY),
        FieldLayout("amount", Primitive("i128")),
        FieldLayout("balance", Primitive("u64")),
        FieldLayout("decimals", Primitive("u8")),
    ),
)
_IDL = Idl(TOKENS, None, events=(_LAYOUT,))


class Tokens(Program):
    """The token programs, as far as balances tell what they did.

    Its one event is `TokenMoved`. The field with `emitter=True` is the token program:
    SPL Token or Token-2022.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(TOKENS, _IDL)


class TokenMoved(Event):
    """Tokens arrived in a token account, or left it (a negative amount).

    `owner` is whose account it is; `balance` is what the account holds for this owner
    and mint after the transaction. Both amounts are in the token's smallest unit.
    """

    source = Tokens()
    account = Pubkey()
    owner = Pubkey()
    mint = Pubkey()
    amount = Int(128)
    balance = Uint(64)
    decimals = Uint(8)
    program = Pubkey(emitter=True)
