"""A command's call as an instruction: its arguments in Borsh, and its accounts.

The instruction is stored with the command, as `bytes(Instruction)` of solders, and is
what a transaction carries; who pays, the blockhash and the fee come when it is signed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from commands.arguments import BadArguments
from commands.lane import NoContract
from db.declare.solana.accounts import (
    Account,
    Ata,
    Each,
    Given,
    Item,
    Known,
    Named,
    Signer,
)
from db.declare.solana.call import OWN, SolanaCallSpec
from idl.base58 import from_base58
from idl.encode import EncodeError, encode
from idl.model import AccountRef, Derived, Seed
from idl.types import Primitive, Vec

ASSOCIATED = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
_COUNTED = (Primitive("string"), Primitive("bytes"))  # their length comes first, too


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses that a chain's settings give: of programs, and of accounts.

    `several` has all of an account's name, of which `accounts` has the first.
    """

    programs: Mapping[str, bytes]
    accounts: Mapping[str, bytes]
    several: Mapping[str, Sequence[bytes]] = field(default_factory=dict)

    def all_of(self, name: str) -> Sequence[bytes]:
        """Return every address of an account's name; raises NoContract without one."""
        return self.several.get(name) or (address_of(self, name),)


def build_instruction(
    call: SolanaCallSpec,
    arguments: Mapping[str, Any],
    signer: bytes,
    addresses: Addresses,
) -> Instruction:
    """Return the instruction of a call.

    Raises BadArguments for values that the IDL does not take, NoContract for an address
    that the settings lack.
    """
    if call.contract not in addresses.programs:
        raise NoContract(
            f"{call.contract} has no address: write it under [chains.<name>.programs]"
        )
    values = {name: arguments[field] for name, field in call.arguments.items()}
    try:
        data = call.layout.discriminator + encode(
            call.layout.fields, values, call.idl.types
        )
        keys = _Keys(call, arguments, signer, addresses, values)
        metas = [
            AccountMeta(keys.of(ref), is_signer=ref.signer, is_writable=ref.writable)
            for ref in call.layout.accounts
        ]
        for each in call.remaining:
            metas += keys.each(each)
    except EncodeError as error:
        raise BadArguments([str(error)]) from None
    return Instruction(keys.program, data, metas)


def associated(owner: Pubkey, mint: Pubkey, program: Pubkey) -> Pubkey:
    """Return the address of an owner's token account for a mint."""
    seeds = [bytes(owner), bytes(program), bytes(mint)]
    return Pubkey.find_program_address(seeds, ASSOCIATED)[0]


def address_of(addresses: Addresses, name: str) -> bytes:
    """Return the address of a named account; raises NoContract without one."""
    if name not in addresses.accounts:
        raise NoContract(
            f"the account {name} has no address: write {name} = … under "
            "[chains.<name>.accounts]"
        )
    return addresses.accounts[name]


class _Keys:
    """The keys of one call's accounts; derived ones may follow from others."""

    def __init__(
        self,
        call: SolanaCallSpec,
        arguments: Mapping[str, Any],
        signer: bytes,
        addresses: Addresses,
        values: Mapping[str, Any],
    ) -> None:
        self.program = Pubkey.from_bytes(addresses.programs[call.contract])
        self._call, self._arguments, self._values = call, arguments, values
        self._signer, self._addresses = Pubkey.from_bytes(signer), addresses
        self._refs = {ref.name: ref for ref in call.layout.accounts}
        self._found: dict[str, Pubkey] = {}

    def of(self, ref: AccountRef) -> Pubkey:
        """Return the key of a named account; an absent one is the program's own."""
        if ref.name not in self._found:
            self._found[ref.name] = self._of(ref)
        return self._found[ref.name]

    def each(self, each: Each) -> list[AccountMeta]:
        """Return the accounts for the keys in a list."""
        listed = self._arguments[each.field]
        if not isinstance(listed, list):
            raise EncodeError(f"{each.field}: expected a list of keys")
        return [
            AccountMeta(
                self._key(each.account, _key_of(text, each.field)),
                is_signer=False,
                is_writable=each.writable,
            )
            for text in listed
        ]

    def _of(self, ref: AccountRef) -> Pubkey:
        if ref.name in self._call.accounts:
            return self._key(self._call.accounts[ref.name], None)
        if ref.address is not None:
            return Pubkey.from_bytes(ref.address)
        if ref.derived is not None:
            return self._derived(ref.derived)
        assert ref.optional or ref.name == OWN  # checked at import
        return self.program

    def _key(self, account: Account, item: Pubkey | None) -> Pubkey:
        if isinstance(account, Known):
            return Pubkey.from_bytes(account.key)
        if isinstance(account, Given):
            return Pubkey.from_bytes(self._arguments[account.field])
        if isinstance(account, Signer):
            return self._signer
        if isinstance(account, Item):
            if item is None:
                raise EncodeError("ITEM stands outside of Each")
            return item
        if isinstance(account, Named):
            return Pubkey.from_bytes(address_of(self._addresses, account.name))
        assert isinstance(account, Ata)
        owner, mint, program = (
            self._key(part, item)
            for part in (account.owner, account.mint, account.program)
        )
        return associated(owner, mint, program)

    def _derived(self, derived: Derived) -> Pubkey:
        owner = self.program
        if derived.program is not None:
            owner = Pubkey.from_bytes(self._seed(derived.program))
        seeds = [self._seed(each) for each in derived.seeds]
        if len(seeds) > 15 or any(len(seed) > 32 for seed in seeds):  # it would panic
            named = ", ".join(each.path or "a constant" for each in derived.seeds)
            raise EncodeError(f"{named}: a seed has 32 bytes at most, an account 15")
        return Pubkey.find_program_address(seeds, owner)[0]

    def _seed(self, seed: Seed) -> bytes:
        """Return the bytes of a seed; an argument's are those that it has in Borsh.

        A text and a list of bytes count without their length, as Anchor has them.
        """
        if seed.kind == "const":
            return seed.value
        if seed.kind == "account":
            return bytes(self.of(self._refs[seed.path]))
        for item in self._call.layout.fields:
            if item.name == seed.path:
                value = self._values[item.name]
                body = encode([item], {item.name: value}, self._call.idl.types)
                counted = isinstance(item.type, Vec) or item.type in _COUNTED
                return body[4:] if counted else body
        raise EncodeError(f"{seed.path}: no argument of that name is a seed")


def _key_of(text: Any, field: str) -> Pubkey:
    try:
        return Pubkey.from_bytes(from_base58(str(text), 32))
    except ValueError as error:
        raise EncodeError(f"{field}: {str(text)[:60]!r} is no key: {error}") from None
