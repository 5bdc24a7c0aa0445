"""Made-up business beside the campaigns: the escrow, tokens and a pool of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from devnet.client import Call, Contract
from devnet.deploy import Deployment
from examples.crowdfunding.invention import ETHER, Action, Choices, Dice, People

LIQUIDITY = 1_000_000 * ETHER


@dataclass(slots=True)
class Account:
    """One escrow account."""

    campaign_id: str
    status: str = "open"
    deposits: dict[str, int] = field(default_factory=dict)

    def holds_money(self) -> bool:
        """Whether anything is left in it."""
        return self.status in ("open", "refunding") and bool(self.deposits)


class EscrowBusiness:
    """Money deposited with the custodian, released or given back."""

    def __init__(
        self, deployment: Deployment, people: People, dice: Dice, tag: str
    ) -> None:
        self._people = people
        self._dice = dice
        self._tag = tag
        self._escrow = deployment.contract("FundEscrow")
        self._accounts: list[Account] = []
        self._paused = False

    def choices(self) -> Choices:
        """List what may be done, by weight."""
        return [
            (1.0, self.open_account),
            (6.0, self.deposit),
            (0.6, self.release),
            (0.4, self.open_refunds),
            (3.0, self.refund),
            (0.1, self.alarm),
            (4.0, self.end_alarm),
        ]

    def open_account(self, now: int) -> Action | None:
        """Open an account."""
        if self._paused:
            return None
        number = len(self._accounts) + 1
        account = Account(f"ES-{self._tag}-{number:05d}")
        self._accounts.append(account)
        return self._people.by_operator(
            self._escrow,
            "createEscrowAccount",
            account.campaign_id,
            self._dice.address("issuer", number),
        )

    def deposit(self, now: int) -> Action | None:
        """Deposit for oneself."""
        account = self._in("open")
        if account is None:
            return None
        investor = self._dice.choice(self._people.investors)
        amount = self._dice.source.randint(1, 5_000) * ETHER
        account.deposits[investor] = account.deposits.get(investor, 0) + amount
        arguments = (account.campaign_id, investor)
        call = Call(investor, self._escrow, "depositFunds", arguments, amount)
        return Action("depositFunds", call)

    def release(self, now: int) -> Action | None:
        """Pay an account out."""
        account = self._in("open", filled=True)
        if account is None:
            return None
        account.status = "released"
        return self._people.by_operator(
            self._escrow, "releaseFunds", account.campaign_id
        )

    def open_refunds(self, now: int) -> Action | None:
        """Begin to give an account back."""
        account = self._in("open", filled=True)
        if account is None:
            return None
        account.status = "refunding"
        return self._people.by_operator(
            self._escrow, "openRefunds", account.campaign_id
        )

    def refund(self, now: int) -> Action | None:
        """Give one investor its deposit back."""
        account = self._in("refunding")
        if account is None:
            return None
        investor = self._dice.choice(list(account.deposits))
        del account.deposits[investor]
        if not account.deposits:
            account.status = "refunded"
        return self._people.by_operator(
            self._escrow, "processRefund", account.campaign_id, investor
        )

    def alarm(self, now: int) -> Action | None:
        """Stop all money in the escrow."""
        if self._paused:
            return None
        self._paused = True
        return self._people.by_admin(self._escrow, "pause")

    def end_alarm(self, now: int) -> Action | None:
        """Bring one account's money to safety, or end the alarm."""
        if not self._paused:
            return None
        account = self._dice.one([a for a in self._accounts if a.holds_money()])
        if account is None or self._dice.source.random() < 0.5:
            self._paused = False
            return self._people.by_admin(self._escrow, "unpause")
        account.status = "withdrawn"
        return self._people.by_admin(
            self._escrow, "emergencyWithdraw", account.campaign_id, self._people.admin
        )

    def _in(self, status: str, *, filled: bool = False) -> Account | None:
        if self._paused:
            return None
        accounts = [a for a in self._accounts if a.status == status]
        return self._dice.one([a for a in accounts if a.deposits or not filled])


class TokenBusiness:
    """Tokens minted and passed on, and a pool where two of them are exchanged."""

    def __init__(
        self, deployment: Deployment, people: People, dice: Dice, pair: Contract
    ) -> None:
        self._people = people
        self._dice = dice
        self._pair = pair
        self._tokens = [
            deployment.contract(name) for name in ("TestToken", "TestTokenB")
        ]
        self._held: dict[tuple[str, str], int] = {}
        self._to_prepare = [
            (function, token)
            for token in self._tokens
            for function in ("mint", "approve")
        ]
        self._provided = False

    def choices(self) -> Choices:
        """List what may be done, by weight."""
        return [
            (2.0, self.mint),
            (18.0, self.transfer),
            (2.0, self.provide),
            (6.0, self.swap),
        ]

    def mint(self, now: int) -> Action | None:
        """Make some tokens for somebody."""
        token = self._dice.choice(self._tokens)
        holder = self._dice.choice(self._people.investors)
        amount = self._dice.source.randint(1, 10_000) * ETHER
        self._hold(token, holder, amount)
        return Action("mint", Call(holder, token, "mint", (holder, amount)))

    def transfer(self, now: int) -> Action | None:
        """Pass some tokens on, now and then none at all, or to oneself."""
        owners = [key for key, amount in self._held.items() if amount]
        owner = self._dice.one(owners)
        if owner is None:
            return None
        address, holder = owner
        token = next(t for t in self._tokens if t.address == address)
        to = self._dice.choice(self._people.investors)
        amount = self._held[owner] * self._dice.source.randint(0, 100) // 100
        self._hold(token, holder, -amount)
        self._hold(token, to, amount)
        return Action("transfer", Call(holder, token, "transfer", (to, amount)))

    def provide(self, now: int) -> Action | None:
        """Prepare the pool's owner step by step, then add liquidity."""
        owner = self._people.admin
        if self._to_prepare:
            function, token = self._to_prepare.pop(0)
            to = owner if function == "mint" else self._pair.address
            arguments = (to, 1_000_000 * LIQUIDITY)
            return Action(function, Call(owner, token, function, arguments))
        self._provided = True
        amounts = (LIQUIDITY, LIQUIDITY)
        return Action("addLiquidity", Call(owner, self._pair, "addLiquidity", amounts))

    def swap(self, now: int) -> Action | None:
        """Exchange one token for the other."""
        if not self._provided:
            return None
        token = self._dice.choice(self._tokens).address
        amount = self._dice.source.randint(1, 10_000) * ETHER
        owner = self._people.admin
        call = Call(owner, self._pair, "swap", (token, amount, 1, owner))
        return Action("swap", call)

    def _hold(self, token: Contract, holder: str, change: int) -> None:
        key = (token.address, holder)
        self._held[key] = self._held.get(key, 0) + change
