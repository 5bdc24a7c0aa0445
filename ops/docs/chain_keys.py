"""The settings of chains, contracts and signers, as their page has them."""

from db.proofs import Verify
from idl.parse import BUILTIN, builtins
from ops.docs.section import ADDRESSES, AMOUNT, Section, SettingKey, choices
from ops.settings import (
    ChainSettings,
    ContractCommand,
    ContractSettings,
    FeeModel,
    Finality,
    LogQuery,
    ProgramSettings,
    SignerKind,
    SignerSettings,
    TableSettings,
)

MEANINGS = SettingKey("table", "What values are to people: see the section below.")
MEANING_KEYS = {
    "<parameter>": SettingKey(
        '`"amount <decimals> <symbol>"`, `"share <parts>"`, `"time"`, `"duration"`, '
        '`"code"`, `"url"` or `"number"`',
        "What the parameter is, of every event and call that has it; in a section with "
        "the name of an event or a function of that one alone. Where there are "
        "amounts, every wide integer that a command takes must be said.",
    )
}
BUILTINS = ", ".join(f"`{BUILTIN}{name}`" for name in builtins())
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
    Section(
        "contracts.<name>",
        "A contract declared by its ABI alone; its events become tables whose names "
        "begin with the name. `address` or `factory` is needed; with both, it is at "
        "the addresses and wherever it is announced.",
        ContractSettings,
        {
            "abi": SettingKey(
                "path, or a list",
                "A JSON list, or `{abi: [...]}`; relative to the file. Of several, "
                "the union counts; an event that two files have must be the same.",
            ),
            "address": SettingKey(
                f"{ADDRESSES}; or a table by chain",
                "Where it is: on every chain, or `{ edge = …, main = … }`.",
            ),
            "factory": SettingKey(
                "`{ contract, event, param }`, or a list",
                "What announces its addresses: a parameter of a contract's event, an "
                "address or a list of them, or several such parameters. `event` is a "
                "name, or the signature of an overloaded event; a parameter without a "
                "name is `arg0`, `arg1` … by its place. The contract may be made by a "
                "factory too, and by itself.",
            ),
            "chain": SettingKey(
                "text, or a list",
                "The chains it is on; not needed when there is only one. Its tables "
                "are the same for all, with a column `chain`, which is part of the key "
                "of every projection.",
            ),
            "start": SettingKey(
                "integer; or a table by chain",
                "The first block worth reading for it; 0 if not said.",
            ),
            "tagged": SettingKey(
                "true or false",
                "Calls end with their command's id, which contracts do not read; false "
                "for one that does (it hashes its calldata, or passes it on).",
            ),
            "meanings": MEANINGS,
        },
        {
            "address": "addresses",
            "factory": "factories",
            "chain": "chains",
            "start": "starts",
        },
    ),
    Section(
        "contracts.<name>.meanings",
        "The amounts, times and codes of a contract without code.",
        None,
        MEANING_KEYS,
    ),
    Section(
        "programs.<name>",
        "A Solana program declared by its IDL alone; its events and instructions "
        "become tables whose names begin with the name.",
        ProgramSettings,
        {
            "idl": SettingKey(
                "path, or `builtin:<name>`; or a list of `{ file, from_slot }`",
                "The IDL, as Anchor writes it (`target/idl/<program>.json`), of any "
                "version; relative to the file. Of programs that publish none there "
                f"is one here: {BUILTINS}. A list has the IDLs of a program that was "
                "upgraded, oldest first, each but the first with the slot from which "
                "it is right: what was done in a slot is read by the IDL of that slot.",
            ),
            "address": SettingKey(
                "address in base58, or a list; or a table by chain",
                "Where it is; not needed when the IDL says.",
            ),
            "accounts": SettingKey(
                "address in base58, or a list; or a table by chain",
                "Only transactions that name one of these are read, and what the "
                "program did in them: token accounts, mints, wallets, other programs. "
                "Needed with `builtin:`, as nearly every transaction runs such a "
                "program.",
            ),
            "chain": SettingKey(
                "text, or a list",
                "The chains it is on; not needed when there is only one Solana chain.",
            ),
            "start": SettingKey(
                "integer; or a table by chain",
                "The first slot worth reading for it; 0 if not said.",
            ),
            "meanings": MEANINGS,
        },
        {"address": "addresses", "chain": "chains", "start": "starts"},
    ),
    Section(
        "programs.<name>.meanings",
        "The amounts, times and codes of a program without code.",
        None,
        MEANING_KEYS,
    ),
    Section(
        "contracts.<name>.commands.<name>",
        "A command that calls a function of the contract, without code: "
        "`<contract>-<name>`. Its fields are the function's parameters, `wei` of a "
        "payable one, and `contract` where there are several addresses.",
        ContractCommand,
        {
            "role": SettingKey("role, or a list", "Who may ask."),
            "signer": SettingKey(
                "name", 'Who signs; `"caller"`: the client\'s own wallet.'
            ),
            "function": SettingKey(
                "name, or signature",
                "The function; absent: that of the command's name.",
            ),
            "proof": SettingKey("event", "The event that shows that it was done."),
            "doc": SettingKey("text", "What it is for, for those who may ask."),
        },
        {"role": "roles"},
    ),
    Section(
        "tables.<name>",
        "A table folded from the events of contracts, one line a column, in the "
        "language of the declarations ([tables without code](../tables-without-code.md)"
        ").",
        TableSettings,
        {
            "doc": SettingKey("text", "What a row is, for those who read the table."),
            "index": SettingKey("names, or a list", "Columns to sort and filter by."),
            "<column>": SettingKey(
                "text",
                "`Key()`, a fold such as `Sum(token.Transfer.value)`, or an "
                "expression of columns above.",
            ),
        },
        {"<column>": "columns"},
    ),
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
