"""IDLs of both forms over the same types, as tests read them."""

from __future__ import annotations

TYPES = [
    {
        "name": "Payout",
        "type": {
            "kind": "struct",
            "fields": [
                {"name": "recipient", "type": "pubkey"},
                {"name": "amount", "type": "u64"},
            ],
        },
    },
    {
        "name": "Kind",
        "type": {"kind": "enum", "variants": [{"name": "Buy"}, {"name": "Sell"}]},
    },
    {
        "name": "Fee",
        "type": {
            "kind": "enum",
            "variants": [
                {"name": "Free"},
                {"name": "Bps", "fields": ["u16"]},
                {
                    "name": "Fixed",
                    "fields": [
                        {"name": "amount", "type": "u64"},
                        {"name": "mint", "type": {"option": "pubkey"}},
                    ],
                },
            ],
        },
    },
    {
        "name": "Terms",
        "type": {
            "kind": "struct",
            "fields": [
                {"name": "fee", "type": {"defined": {"name": "Fee"}}},
                {
                    "name": "splits",
                    "type": {"vec": {"defined": {"name": "Payout"}}},
                },
                {"name": "note", "type": {"option": "string"}},
            ],
        },
    },
]

# One field for each way that something is written.
FIELDS = [
    {"name": "purchaseId", "type": {"array": ["u8", 32]}},
    {"name": "buyer", "type": "pubkey"},
    {"name": "amount", "type": "u64"},
    {"name": "delta", "type": "i64"},
    {"name": "tiny", "type": "u8"},
    {"name": "low", "type": "i8"},
    {"name": "mid", "type": "u16"},
    {"name": "cold", "type": "i32"},
    {"name": "wide", "type": "u128"},
    {"name": "wideSigned", "type": "i128"},
    {"name": "done", "type": "bool"},
    {"name": "ratio", "type": "f64"},
    {"name": "note", "type": "string"},
    {"name": "blob", "type": "bytes"},
    {"name": "maybe", "type": {"option": "u64"}},
    {"name": "bits", "type": {"vec": "bool"}},
    {"name": "names", "type": {"vec": "string"}},
    {"name": "pair", "type": {"array": ["u32", 2]}},
    {"name": "kind", "type": {"defined": {"name": "Kind"}}},
    {"name": "terms", "type": {"defined": {"name": "Terms"}}},
    {"name": "payouts", "type": {"vec": {"defined": {"name": "Payout"}}}},
    {"name": "deep", "type": {"option": {"vec": {"option": "u16"}}}},
]
SETTLED = {
    "name": "Settled",
    "fields": [
        {"name": name, "type": kind}
        for name, kind in [
            ("buyer", "pubkey"),
            ("mint", "pubkey"),
            ("operator", "pubkey"),
            ("amount", "u64"),
            ("fee", "u64"),
            ("payouts", {"vec": {"defined": {"name": "Payout"}}}),
        ]
    ],
}
PLAIN = {
    "name": "Plain",
    "fields": [{"name": "left", "type": "u64"}, {"name": "right", "type": "u64"}],
}


def legacy(raw):
    """The form of Anchor before 0.30 of anything written in the new one."""
    if isinstance(raw, list):
        return [legacy(each) for each in raw]
    if not isinstance(raw, dict):
        return "publicKey" if raw == "pubkey" else raw
    if set(raw) == {"defined"}:
        return {"defined": raw["defined"]["name"]}
    return {key: legacy(value) for key, value in raw.items()}


def with_index(event):
    fields = [{**each, "index": False} for each in event["fields"]]
    return {**event, "fields": fields}


LEGACY = {
    "version": "0.1.0",
    "name": "shop",
    "instructions": [
        {
            "name": "settleNow",
            "accounts": [
                {"name": "feePayer", "isMut": True, "isSigner": True},
                {"name": "amount", "isMut": False, "isSigner": False},
                {
                    "name": "vault",
                    "accounts": [
                        {"name": "token", "isMut": True, "isSigner": False},
                        {
                            "name": "referrer",
                            "isMut": False,
                            "isSigner": False,
                            "isOptional": True,
                        },
                    ],
                },
            ],
            "args": legacy(FIELDS),
        }
    ],
    "accounts": [
        {"name": "Receipt", "type": {"kind": "struct", "fields": legacy(FIELDS)}}
    ],
    "events": legacy([with_index(e) for e in (
        {"name": "Everything", "fields": FIELDS}, SETTLED, PLAIN)]),
    "types": legacy(TYPES),
    "errors": [{"code": 6000, "name": "TooMuch", "msg": "more than there is"}],
}  # fmt: skip

NEW = {
    "address": "Ledger1111111111111111111111111111111111111",
    "metadata": {"name": "shop", "version": "0.1.0", "spec": "0.1.0"},
    "instructions": [
        {
            "name": "settle_now",
            "discriminator": [9],
            "accounts": [
                {"name": "fee_payer", "writable": True, "signer": True},
                {"name": "amount"},
                {
                    "name": "vault",
                    "accounts": [
                        {"name": "token", "writable": True},
                        {"name": "referrer", "optional": True},
                    ],
                },
            ],
            "args": FIELDS,
        }
    ],
    "accounts": [{"name": "Receipt", "discriminator": [1, 2, 3, 4, 5, 6, 7, 8]}],
    "events": [
        {"name": "Everything", "discriminator": [7, 0, 0, 0, 0, 0, 0, 1]},
        {"name": "Settled", "discriminator": [7, 0, 0, 0, 0, 0, 0, 2]},
        {"name": "Plain", "discriminator": [7, 0, 0, 0, 0, 0, 0, 3]},
    ],
    "types": [
        *TYPES,
        {"name": "Receipt", "type": {"kind": "struct", "fields": FIELDS}},
        {"name": "Everything", "type": {"kind": "struct", "fields": FIELDS}},
        {"name": "Settled", "type": {"kind": "struct", "fields": SETTLED["fields"]}},
        {"name": "Plain", "type": {"kind": "struct", "fields": PLAIN["fields"]}},
    ],
    "errors": [{"code": 6000, "name": "TooMuch", "msg": "more than there is"}],
}
