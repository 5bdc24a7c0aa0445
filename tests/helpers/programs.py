"""An IDL with one of each kind of part, for tests that need no program."""

import json

from idl import parse_idl

ADDRESS = "Vote111111111111111111111111111111111111111"

SHOP_TEXT = json.dumps(
    {
        "address": ADDRESS,
        "metadata": {"name": "shop", "version": "0.1.0", "spec": "0.1.0"},
        "instructions": [
            {
                "name": "deposit",
                "discriminator": [242, 35, 198, 137, 82, 225, 242, 182],
                "accounts": [
                    {"name": "owner", "signer": True},
                    {"name": "amount", "writable": True},
                    {"name": "referrer", "optional": True},
                ],
                "args": [{"name": "amount", "type": "u64"}],
            }
        ],
        "events": [
            {"name": "Sold", "discriminator": [1, 2, 3, 4, 5, 6, 7, 8]},
            {"name": "Deposit", "discriminator": [9, 2, 3, 4, 5, 6, 7, 8]},
        ],
        "types": [
            {
                "name": "Sold",
                "type": {
                    "kind": "struct",
                    "fields": [
                        {"name": "buyer", "type": "pubkey"},
                        {"name": "from", "type": "pubkey"},
                        {"name": "price", "type": "u64"},
                        {"name": "change", "type": "i32"},
                        {"name": "gift", "type": "bool"},
                        {"name": "title", "type": "string"},
                        {"name": "digest", "type": {"array": ["u8", 32]}},
                        {"name": "proof", "type": {"array": ["u8", 64]}},
                        {"name": "note", "type": {"option": "string"}},
                        {"name": "state", "type": {"defined": {"name": "State"}}},
                        {"name": "shares", "type": {"vec": "u16"}},
                    ],
                },
            },
            {
                "name": "Deposit",
                "type": {
                    "kind": "struct",
                    "fields": [{"name": "amount", "type": "u128"}],
                },
            },
            {
                "name": "State",
                "type": {
                    "kind": "enum",
                    "variants": [{"name": "Open"}, {"name": "Shut"}],
                },
            },
        ],
    }
)
SHOP = parse_idl(SHOP_TEXT.encode())
