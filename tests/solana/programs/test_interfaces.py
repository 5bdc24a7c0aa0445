"""Every program of ours is what its source gives, and both its IDLs say the same."""

from __future__ import annotations

import hashlib
import json

import pytest

from devnet.programs.build import PROGRAMS, build, interface, program
from devnet.solana import ledger, settlement
from test_architecture import ROOT

ADDRESSES = {"ledger": ledger.PROGRAM, "settlement": settlement.PROGRAM}


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_what_its_source_gives(name):
    assert program(name) == build(name)


@pytest.mark.parametrize("name", PROGRAMS)
def test_both_idls_say_the_same(name):
    new = interface(name)
    old = json.loads((ROOT / "idl" / f"{name}.legacy.json").read_text())

    assert new["address"] == old["metadata"]["address"] == str(ADDRESSES[name])
    for ours, theirs in zip(new["instructions"], old["instructions"], strict=True):
        assert camel(ours["name"]) == theirs["name"]
        assert [
            (camel(a["name"]), a.get("writable", False), a.get("signer", False),
             a.get("optional", False))
            for a in ours["accounts"]
        ] == [
            (a["name"], a["isMut"], a["isSigner"], a.get("isOptional", False))
            for a in theirs["accounts"]
        ]  # fmt: skip
        assert [camel(a["name"]) for a in ours["args"]] == [
            a["name"] for a in theirs["args"]
        ]
    assert new["errors"] == old["errors"]
    for space in ("instructions", "events", "accounts"):
        assert [camel(one["name"]) for one in new[space]] == [
            one["name"] for one in old[space]
        ]
    fields = {t["name"]: t["type"].get("fields") for t in new["types"]}
    bodies = [(e["name"], e["fields"]) for e in old["events"]] + [
        (a["name"], a["type"]["fields"]) for a in old["accounts"]
    ]
    for kind, found in bodies:
        assert [camel(f["name"]) for f in fields[kind]] == [f["name"] for f in found]


@pytest.mark.parametrize("name", PROGRAMS)
def test_discriminators_are_anchor_s(name):
    for space in ("instructions", "events", "accounts"):
        prefix = {"instructions": "global"}.get(space, space[:-1])
        for one in interface(name)[space]:
            whole = hashlib.sha256(f"{prefix}:{one['name']}".encode()).digest()
            assert list(whole[:8]) == one["discriminator"]
