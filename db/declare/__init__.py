"""The vocabulary: everything a domain may import.

`fields` say what a value is and `meanings` what it is to people, `events` what a chain
can say, `folds` how facts become one value, `projections` which table they make,
`commands` what may be asked and by which `roles`, `rules` what speaks against it,
`reactions` what follows from a fact, `timers` what time asks for, `notices` what people
are told, `settings` what an operator may set, `journal` what we say ourselves and do
not tell everyone. Each module's docstring is its part of the manual; a mistake raises
`DeclarationError` at import, with file, name and remedy.
"""

from db.declare.commands import CALLER, Command, Route
from db.declare.errors import DeclarationError
from db.declare.events import Event, EventView, FieldRef
from db.declare.evm import Call, Contract
from db.declare.expressions import Expression
from db.declare.fields import (
    Address,
    Blob,
    Bool,
    Bytes32,
    Field,
    FieldKind,
    FixedBytes,
    Hash,
    Int,
    Json,
    Pubkey,
    Signature,
    Text,
    Uint,
    Uuid,
)
from db.declare.folds import (
    Average,
    Count,
    CountDistinct,
    First,
    Fold,
    Latest,
    Max,
    Min,
    Replay,
    Stage,
    Sum,
    Top,
)
from db.declare.journal import EVERYONE, Entry, Personal
from db.declare.meanings import Code, Duration, Money, Share, Time, Url
from db.declare.notices import Notice, ToAccount, ToChannel, ToWallet, Wording
from db.declare.projections import Bucket, Key, Projection
from db.declare.reactions import Reaction, reaction
from db.declare.readers import STAFF, Own
from db.declare.roles import Role
from db.declare.rules import Asker, Refusal, RowOf, Tables
from db.declare.settings import Setting, SettingsTable, time_zone
from db.declare.solana import (
    ITEM,
    SIGNER,
    Ata,
    Each,
    Invoke,
    Named,
    Program,
    TokenMoved,
    Tokens,
)
from db.declare.timers import Due, Schedule, due, schedule
from db.declare.withdrawals import Withdrawal

__all__ = [
    "CALLER",
    "EVERYONE",
    "ITEM",
    "SIGNER",
    "STAFF",
    "Address",
    "Asker",
    "Ata",
    "Average",
    "Blob",
    "Bool",
    "Bucket",
    "Bytes32",
    "Call",
    "Code",
    "Command",
    "Contract",
    "Count",
    "CountDistinct",
    "DeclarationError",
    "Due",
    "Duration",
    "Each",
    "Entry",
    "Event",
    "EventView",
    "Expression",
    "Field",
    "FieldKind",
    "FieldRef",
    "First",
    "FixedBytes",
    "Fold",
    "Hash",
    "Int",
    "Invoke",
    "Json",
    "Key",
    "Latest",
    "Max",
    "Min",
    "Money",
    "Named",
    "Notice",
    "Own",
    "Personal",
    "Program",
    "Projection",
    "Pubkey",
    "Reaction",
    "Refusal",
    "Replay",
    "Role",
    "Route",
    "RowOf",
    "Schedule",
    "Setting",
    "SettingsTable",
    "Share",
    "Signature",
    "Stage",
    "Sum",
    "Tables",
    "Text",
    "Time",
    "ToAccount",
    "ToChannel",
    "ToWallet",
    "TokenMoved",
    "Tokens",
    "Top",
    "Uint",
    "Url",
    "Uuid",
    "Withdrawal",
    "Wording",
    "due",
    "reaction",
    "schedule",
    "time_zone",
]
