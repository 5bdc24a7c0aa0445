"""Calls as instructions: the bytes and accounts that a program is sent, by hand."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey as Key
from spl.token.instructions import get_associated_token_address

from commands.arguments import BadArguments
from commands.lane import NoContract
from commands.solana.instructions import (
    ASSOCIATED,
    Addresses,
    address_of,
    associated,
    build_instruction,
)
from db.declare import DeclarationError, Json, Pubkey, Text, Uint
from db.declare.solana.accounts import ITEM, SIGNER, TOKEN, TOKEN_2022, Ata, Each, Named
from db.declare.solana.call import Invoke
from idl import parse_idl

P = 2**255 - 19  # of the curve (RFC 8032, section 5.1)
D = -121665 * pow(121666, -1, P) % P


def on_curve(raw):
    """Whether 32 bytes are a point of ed25519, by RFC 8032, 5.1.3."""
    y = int.from_bytes(raw, "little") & ((1 << 255) - 1)
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    return square == 0 or pow(square, (P - 1) // 2, P) == 1


def derived(program, *seeds):
    """The first address off the curve, from bump 255 down (solana.com/docs, "PDA")."""
    for bump in range(255, -1, -1):
        content = b"".join(seeds) + bytes([bump]) + program + b"ProgramDerivedAddress"
        found = hashlib.sha256(content).digest()
        if not on_curve(found):
            return found
    raise AssertionError("no address")


def key(name):
    return hashlib.sha256(name.encode()).digest()


PROGRAM, SIGNING, BUYER = key("program"), key("signing"), key("buyer")
USDC, VAULT, FIXED = key("usdc"), key("vault"), key("fixed")
PLACES = Addresses({"shop": PROGRAM}, {"usdc": USDC, "vault": VAULT})
TAG = [7, 1, 7, 2, 7, 3, 7, 4]


def text(raw):
    return str(Key.from_bytes(raw))


def idl(accounts, arguments=()):
    return parse_idl(json.dumps({
        "address": text(PROGRAM),
        "metadata": {"name": "shop", "version": "1.0.0", "spec": "0.1.0"},
        "instructions": [{
            "name": "pay", "discriminator": TAG, "accounts": accounts,
            "args": [{"name": name, "type": kind} for name, kind in arguments],
        }],
    }).encode())  # fmt: skip


def call_of(accounts, arguments=(), *, fields=None, named=None, remaining=()):
    """A call of `pay`; an account or argument is filled by the field of its name."""
    fields = fields or {}
    invoked = Invoke(
        "shop.pay", {name: fields[name] for name, _ in arguments},
        accounts=named or {}, remaining=remaining, idl=idl(accounts, arguments),
    )  # fmt: skip
    return invoked.bind("Pay", {id(f): name for name, f in fields.items()}, fields)


def build(call, arguments=None, places=PLACES):
    return build_instruction(call, arguments or {}, SIGNING, places)


def keys(instruction):
    return [bytes(meta.pubkey) for meta in instruction.accounts]


def refused(call, arguments=None, error=BadArguments, places=PLACES):
    with pytest.raises(error) as raised:
        build(call, arguments, places)
    return str(raised.value)


def pda(*seeds, program=None):
    found = {"seeds": list(seeds)}
    return found if program is None else {**found, "program": program}


def test_arguments_are_in_the_order_of_the_program():
    fields = {"note": Text(), "amount": Uint(64), "buyer": Pubkey(), "days": Json()}
    kinds = [
        ("amount", "u64"), ("buyer", "pubkey"), ("note", "string"),
        ("days", {"vec": "u16"}),
    ]  # fmt: skip
    call = call_of([], kinds, fields=fields)

    made = build(
        call, {"note": "é", "buyer": BUYER, "days": [1, 515], "amount": 2**40 + 3}
    )

    assert bytes(made.program_id) == PROGRAM
    assert made.accounts == []
    assert made.data == (
        bytes(TAG) + (2**40 + 3).to_bytes(8, "little") + BUYER
        + b"\2\0\0\0\xc3\xa9" + b"\2\0\0\0\1\0\3\2"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("amount", "days"),
    [(2**64, [1]), (-1, [1]), (1, [65536]), (1, "x"), (1, [None]), ("1.5", [1])],
)
def test_values_that_the_program_does_not_take_are_refused(amount, days):
    fields = {"amount": Json(), "days": Json()}
    call = call_of([], [("amount", "u64"), ("days", {"vec": "u16"})], fields=fields)

    assert refused(call, {"amount": amount, "days": days})


def test_accounts_have_their_order_and_what_they_may_do():
    accounts = [
        {"name": "buyer", "writable": True},
        {"name": "payer", "writable": True, "signer": True},
        {"name": "system", "address": text(bytes(32))},
        {"name": "vault"},
        {"name": "fixed", "signer": True},
        {"name": "referrer", "optional": True, "writable": True},
        {"name": "program"},
    ]
    named = {"payer": SIGNER, "vault": Named("vault"), "fixed": text(FIXED)}
    fields = {"buyer": Pubkey()}
    call = call_of(accounts, fields=fields, named={**named, "buyer": fields["buyer"]})

    made = build(call, {"buyer": BUYER})

    # An optional account that is absent is the program itself, as Anchor has it.
    assert keys(made) == [
        BUYER, SIGNING, bytes(32), VAULT, FIXED, PROGRAM, PROGRAM
    ]  # fmt: skip
    assert [(m.is_signer, m.is_writable) for m in made.accounts] == [
        (False, True), (True, True), (False, False), (False, False),
        (True, False), (False, True), (False, False),
    ]  # fmt: skip


def test_a_declaration_goes_before_what_the_idl_says():
    accounts = [{"name": "mint", "address": text(FIXED)}]

    assert keys(build(call_of(accounts))) == [FIXED]
    assert keys(build(call_of(accounts, named={"mint": Named("usdc")}))) == [USDC]


@pytest.mark.parametrize("program", [TOKEN, TOKEN_2022])
def test_associated_token_accounts(program):
    fields = {"buyer": Pubkey()}
    account = Ata(fields["buyer"], Named("usdc"), program)
    call = call_of([{"name": "to"}], fields=fields, named={"to": account})
    token = bytes(Key.from_string(program))

    [found] = keys(build(call, {"buyer": BUYER}))

    assert found == derived(bytes(ASSOCIATED), BUYER, token, USDC)
    assert found == bytes(associated(*map(Key.from_bytes, (BUYER, USDC, token))))


@pytest.mark.parametrize("program", [TOKEN, TOKEN_2022])
def test_associated_accounts_are_those_of_another_library(program):
    for n in range(20):
        owner, mint = (Key.from_bytes(key(f"{n} {part}")) for part in ("a", "b"))
        token = Key.from_string(program)

        theirs = get_associated_token_address(owner, mint, token)

        assert associated(owner, mint, token) == theirs


class TestDerived:
    def one(self, *seeds, arguments=(), fields=None, given=None, program=None, also=()):
        accounts = [{"name": "at", "pda": pda(*seeds, program=program)}, *also]
        call = call_of(accounts, arguments, fields=fields)
        return keys(build(call, given))[0]

    def test_from_constants(self):
        assert self.one({"kind": "const", "value": [112, 97, 121]}) == derived(
            PROGRAM, b"pay"
        )
        assert self.one() == derived(PROGRAM)

    @pytest.mark.parametrize(
        ("kind", "field", "value", "seed"),
        [
            ("u64", Uint(64), 258, b"\2\1" + bytes(6)),
            ("u8", Uint(8), 9, b"\x09"),
            ("pubkey", Pubkey(), BUYER, BUYER),
            ("string", Text(), "é!", b"\xc3\xa9!"),
            ("string", Text(), "", b""),
            ("string", Text(), "x" * 32, b"x" * 32),
            ("bytes", Json(), [1, 2, 3], b"\1\2\3"),
            ({"vec": "u8"}, Json(), [3, 2, 1], b"\3\2\1"),
            ({"array": ["u8", 4]}, Json(), [9, 8, 7, 6], b"\x09\x08\x07\x06"),
        ],
    )
    def test_from_an_argument(self, kind, field, value, seed):
        found = self.one(
            {"kind": "const", "value": [1]}, {"kind": "arg", "path": "given"},
            arguments=[("given", kind)], fields={"given": field},
            given={"given": value},
        )  # fmt: skip

        assert found == derived(PROGRAM, b"\1", seed)

    def test_from_accounts_that_follow_from_others(self):
        also = [
            {"name": "middle", "pda": pda({"kind": "account", "path": "last"})},
            {"name": "last", "address": text(FIXED)},
        ]
        found = self.one({"kind": "account", "path": "middle"}, also=also)

        assert found == derived(PROGRAM, derived(PROGRAM, FIXED))

    @pytest.mark.parametrize(
        ("others", "problem"),
        [
            ({"at": ["at"]}, "at of pay cannot be derived: it follows from itself"),
            ({"at": ["b"], "b": ["c"], "c": ["b"]}, "it follows from itself, by b, c"),
            ({"at": ["nobody"]}, "nobody is no account of the instruction"),
            ({"at": [], "b": ["at"], "c": ["b", "nobody"]}, "c of pay cannot"),
            (
                {f"a{n}": [f"a{n + 1}"] for n in range(17)} | {"a17": []},
                "it follows from more than 16 others in a row",
            ),
        ],
    )
    def test_what_cannot_be_derived_is_refused_when_it_is_declared(
        self, others, problem
    ):
        accounts = [
            {"name": name, "pda": pda(*({"kind": "account", "path": p} for p in paths))}
            for name, paths in others.items()
        ]

        with pytest.raises(DeclarationError, match=problem):
            call_of(accounts)

    def test_a_seed_that_is_no_argument_is_refused_when_it_is_declared(self):
        with pytest.raises(DeclarationError, match="days is no argument"):
            call_of([{"name": "at", "pda": pda({"kind": "arg", "path": "days"})}])

    def test_accounts_that_many_follow_from_are_looked_at_once(self):
        accounts = [
            {
                "name": f"a{n}",
                "pda": pda(*[{"kind": "account", "path": f"a{n + 1}"}] * 9),
            }
            for n in range(15)
        ]

        found = build(call_of([*accounts, {"name": "a15", "address": text(FIXED)}]))

        assert len(set(keys(found))) == 16

    def test_of_another_program(self):
        constant = {"kind": "const", "value": list(FIXED)}
        also = [{"name": "other", "address": text(USDC)}]

        assert self.one(program=constant) == derived(FIXED)
        by_account = {"kind": "account", "path": "other"}
        assert self.one(constant, program=by_account, also=also) == derived(USDC, FIXED)

    @pytest.mark.parametrize("value", ["x" * 33, "é" * 17, "x" * 5000])
    def test_a_seed_that_is_too_long_is_refused(self, value):
        """The library ends with a panic, which is no Exception."""
        accounts = [{"name": "at", "pda": pda({"kind": "arg", "path": "name"})}]
        call = call_of(accounts, [("name", "string")], fields={"name": Text()})

        assert "name: a seed has 32 bytes at most" in refused(call, {"name": value})

    @pytest.mark.parametrize(("count", "fits"), [(15, True), (16, False), (40, False)])
    def test_an_address_has_only_so_many_seeds(self, count, fits):
        seeds = [{"kind": "const", "value": [n]} for n in range(count)]
        call = call_of([{"name": "at", "pda": pda(*seeds)}])

        if fits:
            assert keys(build(call)) == [derived(PROGRAM, bytes(range(count)))]
        else:
            assert "an account 15" in refused(call)

    @given(st.text(max_size=40), st.integers(0, 2**64 - 1))
    def test_of_whatever_is_given(self, name, number):
        accounts = [
            {"name": "at", "pda": pda(
                {"kind": "arg", "path": "name"}, {"kind": "arg", "path": "number"},
            )},
        ]  # fmt: skip
        fields = {"name": Text(), "number": Uint(64)}
        call = call_of(accounts, [("name", "string"), ("number", "u64")], fields=fields)
        arguments = {"name": name, "number": number}
        raw = name.encode()

        if len(raw) > 32:
            assert refused(call, arguments)
            return
        seeds = (raw, number.to_bytes(8, "little"))
        assert keys(build(call, arguments)) == [derived(PROGRAM, *seeds)]


class TestRemaining:
    FIELDS = {"people": Json()}  # noqa: RUF012 - nobody changes it

    def call(self, account=ITEM, *, writable=True):
        each = Each(self.FIELDS["people"], account, writable)
        return call_of([{"name": "payer"}], fields=self.FIELDS,
                       named={"payer": SIGNER}, remaining=[each])  # fmt: skip

    def test_there_is_one_for_each_key(self):
        people = [key(str(n)) for n in range(3)]
        made = build(self.call(), {"people": [text(each) for each in people]})

        assert keys(made) == [SIGNING, *people]
        assert [m.is_writable for m in made.accounts] == [False, True, True, True]
        assert not any(meta.is_signer for meta in made.accounts)
        assert keys(build(self.call(), {"people": []})) == [SIGNING]
        read = build(self.call(writable=False), {"people": [text(people[0])]})
        assert not read.accounts[1].is_writable

    def test_each_may_be_the_token_account_of_a_key(self):
        made = build(self.call(Ata(ITEM, Named("usdc"))), {"people": [text(BUYER)]})

        token = bytes(Key.from_string(TOKEN))
        assert keys(made)[1] == derived(bytes(ASSOCIATED), BUYER, token, USDC)

    @pytest.mark.parametrize(
        "people",
        [
            None, "x", {"a": 1}, 7, [7], [None], [""], ["0x" + "ab" * 20],
            [text(BUYER)[:-3]], [text(BUYER) + "1"], ["O" * 44], [text(BUYER), "x"],
            ["1" * 100_000],
        ],
        ids=range(13),
    )  # fmt: skip
    def test_what_is_no_list_of_keys_is_refused(self, people):
        said = refused(self.call(), {"people": people})

        assert "people: " in said
        assert len(said) < 300


class TestAddresses:
    def test_a_program_without_one_is_told(self):
        said = refused(call_of([]), places=Addresses({}, {}), error=NoContract)

        assert "shop has no address" in said
        assert "[chains.<name>.programs]" in said

    def test_an_account_without_one_is_told(self):
        call = call_of([{"name": "vault"}], named={"vault": Named("vault")})
        said = refused(call, places=Addresses({"shop": PROGRAM}, {}), error=NoContract)

        assert "write vault = … under [chains.<name>.accounts]" in said
        assert address_of(PLACES, "vault") == VAULT

    def test_who_signs_is_whoever_is_asked(self):
        call = call_of([{"name": "payer", "signer": True}], named={"payer": SIGNER})

        for who in (SIGNING, BUYER, bytes(32)):
            made = build_instruction(call, {}, who, PLACES)
            assert keys(made) == [who]
