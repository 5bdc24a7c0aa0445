"""A client whose wallet signs for a ledger on Solana: asks, signs, hands in.

book = WalletBook(settings, url, client)
data = book.asked(1)
book.give(data, book.sign(data))
"""

import asyncio
import base64
import uuid
from dataclasses import replace
from hashlib import sha256

from solders.keypair import Keypair
from solders.message import MessageV0, from_bytes_versioned
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from sqlalchemy import text

from db.commands import accept
from db.declare.roles import Role
from db.schema import migrate
from devnet.solana import ledger
from helpers.door import Door
from ops.command_service import open_command_service
from ops.indexing import declared
from ops.running import catch_up

COMMANDS = (("SayEntry", "emit", "CALLER"), ("KeepEntry", "record", "CALLER"))
SETTINGS = """
domains = ["pocketbook"]
declarations = ["{declarations}"]

[chains.local]
id = "solana:{genesis}"
rpc = "{url}"
finality = "commitment"
programs.ledger = {{ address = "{program}", start = {start} }}
{rules}
"""


def key_of(word):
    return Keypair.from_seed(sha256(f"a wallet of tests: {word}".encode()).digest())


def entry_of(number, amounts=(3, 5)):
    return {
        "id": "0x" + sha256(str(number).encode()).hexdigest(),
        "entry": {
            "amount": str(sum(amounts)), "level": 1, "urgent": False,
            "note": f"nº {number}", "limit": None, "kind": "Opened",
            "amounts": list(amounts),
        },
        "recipients": [str(key_of(f"r{n}").pubkey()) for n in range(len(amounts))],
    }  # fmt: skip


def based(raw):
    return base64.b64encode(bytes(raw)).decode()


def message_of(data):
    """The message that a command's wallet is asked to sign."""
    return from_bytes_versioned(
        base64.b64decode(data["transaction_to_sign"]["message"])
    )


def instructions_of(message):
    """A message taken apart, to be compiled with something else."""
    from solders.instruction import AccountMeta, Instruction

    header, keys = message.header, message.account_keys
    signing, count = header.num_required_signatures, len(keys)

    def meta(at):
        written = (
            at < signing - header.num_readonly_signed_accounts
            if at < signing
            else at < count - header.num_readonly_unsigned_accounts
        )
        return AccountMeta(keys[at], at < signing, written)

    return [
        Instruction(
            keys[each.program_id_index], bytes(each.data),
            [meta(at) for at in bytes(each.accounts)],
        )
        for each in message.instructions
    ]  # fmt: skip


def signed(message, *keys):
    return VersionedTransaction(message, list(keys))


def compiled(instructions, payer, blockhash):
    return MessageV0.try_compile(payer, instructions, [], blockhash)


class WalletBook(Door):
    """A deployment on a chain whose slots advance when told, and its API."""

    def __init__(self, settings, url, client, key):
        self.settings, self.chain, self.key = settings, client, key
        self.alone = {}
        registry = declared(settings)
        super().__init__(url, registry)
        migrate(self.writer, registry)
        self.index()
        self.command_service = replace(
            open_command_service(settings, self.writer), clock=self.clock
        )
        self.open(command_service=self.command_service)
        self.account_id = self.account(Role.OPERATOR)
        self.link(self.account_id, key)

    @property
    def lane(self):
        (lane,) = self.command_service.lanes
        return lane

    @property
    def by(self):
        return self.token(self.account_id)

    def link(self, account, key):
        with self.writer.begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO control.wallet (kind, address, account, linked_at)"
                " VALUES ('solana', %s, %s, now())",
                (bytes(key.pubkey()), account),
            )

    def asked(self, number, status=202, *, kind="say-entry", key=None, **body):
        answer = self.post(
            f"/api/v1/commands/{kind}", entry_of(number) | body, status, token=self.by,
            headers={"Idempotency-Key": key or str(uuid.uuid4())},
        )  # fmt: skip
        return answer.json.get("data") or answer.json

    def shown(self, data, **options):
        path = f"/api/v1/commands/{data['id']}"
        return self.get(path, token=self.by, **options).json["data"]

    def again(self, data):
        """What the wallet would be asked to sign now, whatever the state is."""
        row = self.row(data)
        return {"transaction_to_sign": self.lane.unsigned(self.command_service, row)}

    def send_alone(self, data, raw):
        """The wallet sends by itself; see `sent_alone`."""
        self.alone[data["id"]] = raw
        self.chain.post(raw, skipPreflight=True)

    def sent_alone(self, data):
        """Whether what the wallet sent by itself may yet land, or did."""
        raw = self.alone.get(data["id"])
        if raw is None:
            return False
        [status] = self.chain.call(
            "getSignatureStatuses",
            [str(raw.signatures[0])], {"searchTransactionHistory": True},
        )["value"]  # fmt: skip
        valid = self.chain.call(
            "isBlockhashValid", str(raw.message.recent_blockhash),
            {"commitment": "confirmed"},
        )["value"]  # fmt: skip
        return status is not None or valid

    def sign(self, data, *keys):
        return signed(message_of(data), *(keys or (self.key,)))

    def give(self, data, raw, status=202):
        raw = raw if isinstance(raw, str) else based(raw)
        path = f"/api/v1/commands/{data['id']}/signed"
        return self.post(path, {"raw": raw}, status, token=self.by).json

    def index(self):
        chain = self.settings.chains["local"]
        engine = getattr(self, "writer", None)
        asyncio.run(catch_up(self.settings, chain, engine, self.registry))

    def work(self):
        return list(self.lane.work_wallets(self.command_service))

    def pass_time(self, slots=1, passes=1, seconds=11):
        """Let slots pass, read them, and let the work be done."""
        for _ in range(passes):
            self.chain.advance(slots)
            self.clock.forward(seconds=seconds)
            self.index()
            self.work()

    def row(self, data):
        with self.writer.connect() as connection:
            return accept.find(connection, uuid.UUID(data["id"]))

    def effects(self):
        """How often the program said an entry, as the chain has it."""
        found = self.chain.call(
            "getSignaturesForAddress", str(ledger.PROGRAM), {"limit": 1000}
        )
        return sum(each["err"] is None for each in found)

    def attempts(self):
        with self.writer.connect() as connection:
            return connection.execute(
                text("SELECT * FROM control.solana_attempt ORDER BY number")
            ).all()

    def close(self):
        self.app.extensions["chainfold_hub"].close()
        self.command_service.at_once.dispose()
        super().close()


def settings_text(client, declarations, rules="", url=None):
    return SETTINGS.format(
        genesis=client.call("getGenesisHash")[:32],
        url=url or client.rpc.url,
        program=ledger.PROGRAM,
        rules=rules,
        declarations=declarations,
        start=client.call("getFirstAvailableBlock"),
    )


def random_key(rng):
    return Pubkey.from_bytes(rng.randbytes(32))
