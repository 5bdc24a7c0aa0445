"""The demonstration's tour: a campaign from registration to certificates, by the API.

Nothing here touches the database or sends to the chain: an operator, a compliance
officer and an investor ask over HTTP, the investor's own wallet signs what it pays, and
each command is seen through to the final block that proves it. Only the passing of
time is asked of the development chain.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils.address import to_checksum_address

from devnet.rpc import Rpc
from examples.person import WAIT_SECONDS, Json, Person
from ops.errors import OperationError

DAY = 86_400
_SIWE = """{domain} wants you to sign in with your Ethereum account:
{address}


URI: {uri}
Version: 1
Chain ID: {chain_id}
Nonce: {nonce}
Issued At: {issued}
Expiration Time: {expires}"""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wallet:
    """A key of the investor's own; made for the occasion."""

    key: bytes = field(repr=False)

    @property
    def address(self) -> str:
        """Its address, with the checksum that EIP-4361 asks for."""
        return str(Account.from_key(self.key).address)

    def sign(self, unsigned: Json) -> str:
        """Sign a transaction as the API gave it."""
        wanted = {k: v for k, v in unsigned.items() if k != "from"}
        wanted["to"] = to_checksum_address(wanted["to"])
        return (
            "0x"
            + bytes(Account.sign_transaction(wanted, self.key).raw_transaction).hex()
        )

    def introduce(self, person: Person, chain_id: int) -> None:
        """Link the wallet to an account by a signed message (EIP-4361)."""
        nonce = person.post("/auth/siwe/nonce", {})["nonce"]
        now = datetime.now(UTC).replace(microsecond=0)
        message = _SIWE.format(
            domain=person.base.partition("//")[2],
            address=self.address,
            uri=person.base,
            chain_id=chain_id,
            nonce=nonce,
            issued=now.isoformat().replace("+00:00", "Z"),
            expires=(now + timedelta(minutes=4)).isoformat().replace("+00:00", "Z"),
        )
        signed = Account.sign_message(encode_defunct(text=message), self.key)
        signature = "0x" + bytes(signed.signature).hex()
        person.post("/auth/wallets", {"message": message, "signature": signature})


@dataclass(frozen=True, slots=True)
class Tour:
    """The people, the wallet and the chain of one tour."""

    operator: Person
    compliance: Person
    investor: Person
    wallet: Wallet
    rpc: Rpc
    chain_id: int
    say: Say

    def run(self) -> None:
        """Play it and print each command's timeline."""
        started = time.monotonic()
        campaign = self.fund()
        for line in self._end(campaign):
            self.say(line)
        self.say(f"the tour took {time.monotonic() - started:.1f} s")

    def fund(self) -> str:
        """Play it up to a campaign that is funded; returns the campaign's address."""
        issuer = Account.create().address.lower()
        for line in self._open(issuer):
            self.say(line)
        found = self.operator.get(f"/campaigns?issuer={issuer}")["data"]
        campaign: str = found[0]["campaign"]
        for line in self._raise_money(campaign):
            self.say(line)
        return campaign

    def _open(self, issuer: str) -> Iterator[str]:
        self.operator.await_index()
        registered = self.operator.ask(
            "/issuers/register", issuer=issuer, credential="vc-tour",
            memorandum="ipfs://memorandum",
        )  # fmt: skip
        yield self._line(self.operator, registered)
        draft = str(uuid.uuid4())
        drafted = self.operator.ask(
            "/campaigns", draft=draft, beneficiary=issuer,
            campaign_id=f"TOUR-{draft[:8]}", company_name="Tour Coffee",
            description="Roasting at home",
            goal="5000", duration="40 days", document_hash="ipfs://documents",
        )  # fmt: skip
        yield self._line(self.operator, drafted)
        read = self.compliance.get(f"/campaign_drafts/{draft}")["data"]
        approved = self.compliance.ask(
            f"/campaigns/{draft}/approve", revision=read["revision"]
        )
        yield self._line(self.compliance, approved)
        yield self._line(self.operator, self.operator.ask(f"/campaigns/{draft}/deploy"))

    def _raise_money(self, campaign: str) -> Iterator[str]:
        self.wallet.introduce(self.investor, self.chain_id)
        invested = self.investor.ask(f"/campaigns/{campaign}/invest", amount="4000")
        raw = self.wallet.sign(invested["transaction_to_sign"])
        self.investor.post(f"/commands/{invested['id']}/signed", {"raw": raw})
        yield self._line(self.investor, invested)
        other = Account.create().address.lower()
        attested = self.operator.ask(
            "/investments", campaign=campaign, investor=other,
            amount="500.00", method="telebirr",
            payment_ref="0x" + uuid.uuid4().hex * 2,
        )  # fmt: skip
        yield self._line(self.operator, attested)
        row = self.operator.get(f"/campaigns/{campaign}")["data"]
        yield (
            f"  the campaign is {row['stage']}: {row['raised']} ETB raised, "
            f"{row['released']} released, {row['fees']} in fees"
        )

    def _end(self, campaign: str) -> Iterator[str]:
        latest = self.rpc.call("eth_getBlockByNumber", "latest", False)
        later = int(latest["timestamp"], 16) + 41 * DAY
        self.rpc.call("evm_setNextBlockTimestamp", later)
        self.rpc.call("evm_mine")
        yield "  41 days go by on the chain"
        (ended,) = self._asked_for("finalise-campaign", campaign, 1)
        yield self._line(self.operator, ended)
        for command in self._asked_for("mint-certificate", campaign, 2):
            yield self._line(self.operator, command)
        found = self.operator.get(f"/certificates?campaign={campaign}")["data"]
        shares = ", ".join(
            f"{each['shares']} shares for {each['owner'][:10]}…" for each in found
        )
        yield f"  certificates: {shares}"

    def _asked_for(self, kind: str, campaign: str, count: int) -> list[Json]:
        """The commands of a kind that a reaction or timer asked for, oldest first."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            page: list[Json] = self.operator.get(f"/commands?kind={kind}&limit=100")[
                "data"
            ]
            found = [each for each in page if each["arguments"]["campaign"] == campaign]
            if len(found) >= count:
                return found[::-1]
            if time.monotonic() > deadline:
                raise OperationError(f"no {kind} was asked for in time")
            time.sleep(0.2)

    def _line(self, person: Person, command: Json) -> str:
        """A command's way from the request to the final block, in seconds."""
        data = person.follow(command)
        begin = _time(data["events"][0]["at"])
        steps = [
            f"{event['state']} +{(_time(event['at']) - begin).total_seconds():.2f}"
            for event in data["events"][1:]
        ]
        where = f" in block {data['height']}" if data["sent"] else " in the journal"
        return f"  {data['kind']:<18} accepted → {' → '.join(steps)}{where}"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
