"""Postings of settlement: what the treasury paid, and how it was funded.

USDC and dollars are two currencies. USDC that were bought go through the account
`Exchange`, whose balances tell at what rate: the dollars that it was debited for the
USDC that it was credited.
"""

from db.declare.books import AccountType, Currency, LedgerAccount, Posting
from db.domains.settlement import entries as e
from db.payments.stripe.postings import BANK

USDC = Currency("usdc", 6)
DOLLARS = Currency("usd", 2)
TREASURY = LedgerAccount("1100", "Treasury", AccountType.ASSET)
EXCHANGE = LedgerAccount("1900", "Exchange", AccountType.ASSET)
CREATORS = LedgerAccount("5100", "Paid to creators", AccountType.EXPENSE)

paid = Posting(
    "settlement", debit=CREATORS, credit=TREASURY, amount=e.SettlementSeen.outflow,
    currency=USDC, reference=e.SettlementSeen.purchase,
)  # fmt: skip
funded = Posting(
    "treasury funded", debit=TREASURY, credit=EXCHANGE, amount=e.TreasuryFunded.usdc,
    currency=USDC, effective=e.TreasuryFunded.funded_at,
    reference=e.TreasuryFunded.reference,
)  # fmt: skip
bought = Posting(
    "USDC bought", debit=EXCHANGE, credit=BANK, amount=e.TreasuryFunded.cents,
    currency=DOLLARS, effective=e.TreasuryFunded.funded_at,
    reference=e.TreasuryFunded.reference,
)  # fmt: skip
