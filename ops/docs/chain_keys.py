"""The settings of chains and signers, as their page has them."""

from db.proofs import Verify
from ops.docs.emitter_keys import EMITTER_SECTIONS
from ops.docs.section import ADDRESSES, AMOUNT, Section, SettingKey, choices
from ops.settings import (
    ChainSettings,
    FeeModel,
    Finality,
    LogQuery,
    SignerKind,
    SignerSettings,
)

CHAIN_SECTIONS = (
    Section(
        "chains.<name>",
        "A chain to follow; the name is yours, and stays with what was read.",
        ChainSettings,
        {
            "id": SettingKey(
                "CAIP-2 id", "`eip155:<chain id>`; checked at every endpoint."
            ),
            "rpc": SettingKey("URL, or a list", "The endpoints; all of one chain."),
            "finality": SettingKey(
                choices(Finality),
                "How blocks become final: at once, as the node's `finalized` tag "
                "says, or after `finality_depth` blocks (`commitment`: Solana).",
            ),
            "finality_depth": SettingKey(
                "integer", 'Goes with `finality = "depth"` only.'
            ),
            "start_block": SettingKey("integer", "The first block worth reading."),
            "logs": SettingKey(
                choices(LogQuery),
                "Every log of a block, or only those of our contracts; a chain keeps "
                "its way, for it numbers the facts.",
            ),
            "genesis": SettingKey(
                "block hash", "Of block 0; another chain is refused."
            ),
            "poll_seconds": SettingKey("number", "How often the head is asked for."),
            "stall_seconds": SettingKey(
                "number", "A head unchanged for longer is a stall."
            ),
            "watch_senders": SettingKey(
                ADDRESSES, "Accounts whose transactions are kept too."
            ),
            "fees": SettingKey(
                choices(FeeModel),
                "What our own transactions offer for gas: one price, or, of type 2, a "
                "most and a tip.",
            ),
            "verify_bloom": SettingKey(
                choices(Verify),
                "Compare logs with the headers' blooms: near the head on chains that "
                "write them (a chain that had true ones is not let off them), of every "
                "block, or not at all.",
            ),
            "verify_receipts": SettingKey(
                choices(Verify),
                "Read receipts and compare their trie with the header's root, which "
                "proves that no log is missing: near the head while those of a block "
                "fit one request, of every block, or not at all.",
            ),
            "require": SettingKey(
                "`{ header, logs }`",
                "The least that must be proved of a block before it is written: "
                '`header = "parent" | "hash" | "seals"`, '
                '`logs = "none" | "bloom" | "receipts"`.',
            ),
            "validators": SettingKey(
                "address, or a list",
                "The IBFT validators due after `validators_block`, in the order of the "
                "headers; on BLS chains `address:key`. Needed for seals where block 0 "
                "is not read, and where no votes explain a new set (PoS).",
            ),
            "validators_block": SettingKey("integer", "Goes with `validators`."),
            "audit_blocks": SettingKey(
                "integer",
                "So many blocks of history are proved between two polls while nothing "
                "is to be read: seals and receipts of blocks that were read without. "
                "0: none.",
            ),
            "contracts": SettingKey("section", "See below."),
            "programs": SettingKey("section", "See below."),
            "tokens": SettingKey("section", "See below."),
            "wallets": SettingKey("section", "See below."),
            "payers": SettingKey("section", "See below."),
            "accounts": SettingKey("section", "See below."),
            "compare_seconds": SettingKey(
                "number",
                "How often whoever follows the chain compares the balances of the "
                "followed token accounts with it; 0: never. `chainfold verify --chain` "
                "does so once.",
            ),
            "ws": SettingKey(
                "URL, or a list",
                "WebSockets of the endpoints (Solana): what they tell of the followed "
                "addresses makes the next poll come at once, and `poll_seconds` may be "
                "longer. One is listened to at a time; all of it works without.",
            ),
        },
    ),
    Section(
        "chains.<name>.contracts",
        "Where the declared contracts are, by the name of their declaration; those "
        "that a factory makes are found by themselves.",
        None,
        {
            "<contract>": SettingKey(
                f"{ADDRESSES}; or `{{ address, start }}`",
                "Its address, and the first block worth reading for it.",
            )
        },
    ),
    Section(
        "chains.<name>.programs",
        "The programs of a Solana chain, by the name of their declaration.",
        None,
        {
            "<program>": SettingKey(
                "address in base58, or a list; or `{ address, start }`",
                "The program's address, and the first slot worth reading for it.",
            )
        },
    ),
    Section(
        "chains.<name>.tokens",
        "Addresses of a Solana chain whose transactions are looked at for token "
        "movements, under names of yours: in each transaction that names one, all "
        "that token accounts gained or lost are facts, `tokens.TokenMoved`. A token "
        "account is named by everything that moves its tokens, so its balance is the "
        "sum of its movements. A mint is named by what mints and burns, and by "
        "transfers only if they check it; a program by all that runs it. These show "
        "other accounts' movements, and no whole balances. A wallet with all its "
        "token accounts is written in `[chains.<name>.wallets]`.",
        None,
        {
            "<name>": SettingKey(
                "address in base58, or a list; or `{ address, start }`",
                "Token accounts, mints or programs, of SPL Token and "
                "Token-2022, and the first slot worth reading for them; the program's "
                "own where it is followed as a program too.",
            )
        },
    ),
    Section(
        "chains.<name>.wallets",
        "Wallets of a Solana chain that are followed with all their token accounts, "
        "under names of yours: those that they have, those that were closed and those "
        "that are opened later, of SPL Token and Token-2022. What moved in "
        "transactions that name a wallet or one of its accounts are facts, "
        "`tokens.TokenMoved`, so what an owner holds is the sum of its movements.",
        None,
        {
            "<name>": SettingKey(
                "address in base58, or a list; or `{ address, start }`",
                "Wallets, and the first slot worth reading for them and for their "
                "token accounts.",
            )
        },
    ),
    Section(
        "chains.<name>.payers",
        "Keys of a Solana chain whose fees are facts, under names of yours: "
        "`fees.FeePaid` for each transaction that one of them paid for, failed ones "
        "too.",
        None,
        {
            "<name>": SettingKey(
                "address in base58, or a list; or `{ address, start }`",
                "Keys that pay fees, as signers do, and the first slot worth reading "
                "for them.",
            )
        },
    ),
    Section(
        "chains.<name>.accounts",
        'Addresses of a Solana chain that declared calls name, as `Named("treasury")`.',
        None,
        {
            "<name>": SettingKey(
                "address in base58, or a list",
                "The address of that name. Of several, such as token accounts of one "
                "owner, each transaction names one that it succeeds with.",
            )
        },
    ),
    *EMITTER_SECTIONS,
    Section(
        "signers.<name>",
        "A key, by where it is kept; never the key itself.",
        SignerSettings,
        {
            "kind": SettingKey(choices(SignerKind), "Where the key is kept."),
            "path": SettingKey("path", 'The keystore file; with `"keystore"`.'),
            "password_env": SettingKey(
                "text", "The variable with the keystore's password."
            ),
            "env": SettingKey("text", 'The variable with the key; with `"env"`.'),
            "url": SettingKey(
                "URL",
                'With `"remote"`: where `chainfold sign serve`, or for EVM chains a '
                "web3signer, listens; `unix:/path/to/sign.sock` or `http://127.0.0.1:9000`.",
            ),
            "chain": SettingKey(
                "text",
                "The chain that it signs for, a name under `[chains]`; needed where "
                "there are several.",
            ),
            "address": SettingKey(
                "address",
                "The account that is expected; needed on Solana where the key is "
                "remote.",
            ),
            "allow": SettingKey(
                "list",
                "What it signs: `IssuerRegistry.registerIssuer`, or "
                "`CampaignImplementation.*` for every function; at the addresses of "
                "`[chains.<name>.contracts]` and wherever the contract's factory made "
                "one; `filler` for transfers of nothing to itself, by which a nonce is "
                "given up. Absent: `filler`, and what its declared commands call.",
            ),
            "value_per_transaction": SettingKey(
                AMOUNT, "The most that is sent at a time."
            ),
            "value_per_day": SettingKey(
                AMOUNT, "The most that is sent in a day (UTC)."
            ),
            "gas_per_day": SettingKey(
                AMOUNT,
                "The most that gas may cost in a day (UTC), counted by what each "
                "transaction could cost.",
            ),
            "gas_price_max": SettingKey(
                AMOUNT, "The most that is paid for a unit of gas."
            ),
            "bump_most_times": SettingKey(
                "number",
                "The most that a replacement pays, as a multiple of the price that the "
                "node suggests.",
            ),
            "max_in_flight": SettingKey(
                "integer",
                "How many nonces are open at once; less than the node keeps for an "
                "account (Polygon Edge: 128).",
            ),
            "lamports_per_day": SettingKey(
                "integer", "On Solana: the lamports that it may spend in a day (UTC)."
            ),
            "tokens_per_day": SettingKey(
                '`{ "<mint>" = integer }`',
                "On Solana: how much of each mint's tokens may leave its accounts in a "
                "day (UTC), in the smallest unit.",
            ),
            "priority_fee_max": SettingKey(
                "integer",
                "On Solana: the most that is paid for a compute unit, in "
                "micro-lamports.",
            ),
        },
    ),
)
