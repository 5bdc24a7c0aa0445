"""The text of a domain over the program `ledger`, which tests write into a folder."""

HEAD = '''
"""Entries of a ledger, recorded by a program."""

from db.declare import (
    CALLER, ITEM, SIGNER, Command, Each, Event, FixedBytes, Invoke, Json, Key, Program,
    Projection, Pubkey, Role, Sum, Text, Uint,
)

ledger = Program("ledger")


class Recorded(Event):
    """An entry was recorded."""

    source = ledger
    author = Pubkey()
    id = FixedBytes(32)
    amount = Uint(64)
    note = Text()


class Author(Projection):
    """What each author recorded."""

    author = Key()
    total = Sum(Recorded.amount)
'''
COMMAND = '''

class {name}(Command):
    """Write an entry by the instruction {instruction}."""

    id = FixedBytes(32)
    entry = Json()
    recipients = Json()

    role = Role.OPERATOR
    signer = {signer}
    call = Invoke(
        "ledger.{instruction}",
        {{"id": id, "entry": entry}},
        accounts={{"author": SIGNER}},
        remaining=[Each(recipients, ITEM, writable=False)],
    )
    proof = Recorded
'''


def write_business(folder, *commands):
    """Write the domain with commands, each a name, an instruction and its signer.

    Python knows a module of a domain's name only once, so one folder serves a module.
    """
    folder.mkdir()
    words = ("name", "instruction", "signer")
    texts = [COMMAND.format(**dict(zip(words, each, strict=True))) for each in commands]
    (folder / "__init__.py").write_text("".join([HEAD, *texts]))
    return folder
