"""Tables of reading Stripe: how far, which events, what was said, what is asked for."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from db.control.base import metadata

# An account that is read: every event up to `cursor` (seconds, of the newest) was, and
# one process at a time has the lease named by `token`.
stripe_account = Table(
    "stripe_account",
    metadata,
    Column("account", Text, primary_key=True),
    Column("livemode", Boolean, nullable=False),
    Column("cursor", BigInteger, nullable=False, server_default="0"),
    Column("polled_at", DateTime(timezone=True)),
    Column("swept_at", DateTime(timezone=True)),
    Column("swept_added", BigInteger, nullable=False, server_default="0"),
    Column("state", Text, nullable=False, server_default="new"),
    Column("cause", Text, nullable=False, server_default=""),
    Column("owner", Text, nullable=False, server_default=""),
    Column("token", Text, nullable=False, server_default=""),
    Column("process", Text, nullable=False, server_default=""),
    Column("seen_at", DateTime(timezone=True)),
)

# An event that was read, and what came of it; kept somewhat longer than Stripe does.
stripe_event = Table(
    "stripe_event",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("object", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("noted_at", DateTime(timezone=True), nullable=False),
)
Index("stripe_event_by_created", stripe_event.c.account, stripe_event.c.created)

# What was said in the journal, by a name of its own: it is never said again.
stripe_said = Table(
    "stripe_said",
    metadata,
    Column("key", Text, primary_key=True),
    Column("said_at", DateTime(timezone=True), nullable=False),
)

# An object to look at again, and why.
stripe_waiting = Table(
    "stripe_waiting",
    metadata,
    Column("kind", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("next_at", DateTime(timezone=True), nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    PrimaryKeyConstraint("kind", "object"),
)

# How many events came to what.
stripe_count = Table(
    "stripe_count",
    metadata,
    Column("account", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("events", BigInteger, nullable=False),
    PrimaryKeyConstraint("account", "outcome"),
)

# A webhook as it came, one for each event; it says only that something happened.
stripe_webhook = Table(
    "stripe_webhook",
    metadata,
    Column("event", Text, primary_key=True),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("signed_at", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("fetched", Boolean, nullable=False, server_default="false"),
)
Index(
    "stripe_webhook_waiting",
    stripe_webhook.c.received_at,
    postgresql_where=stripe_webhook.c.fetched.is_(False),
)

# A checkout session that is asked for under a key, before it is: `session` is empty
# until the answer is known.
stripe_session = Table(
    "stripe_session",
    metadata,
    Column("key", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="1"),
    Column("asked_at", DateTime(timezone=True), nullable=False),
    Column("session", Text, nullable=False, server_default=""),
)

# A refund that an entry asks for, named by the entry's position: `asked_at` is when
# Stripe was asked for the attempt under way, `refund` is empty until that is answered.
stripe_refund = Table(
    "stripe_refund",
    metadata,
    Column("ask", BigInteger, primary_key=True, autoincrement=False),
    Column("charge", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("purchase", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("asked_at", DateTime(timezone=True)),
    Column("refund", Text, nullable=False, server_default=""),
    Column("state", Text, nullable=False, server_default="open"),
    Column("cause", Text, nullable=False, server_default=""),
    Column("next_at", DateTime(timezone=True), nullable=False),
)
Index(
    "stripe_refund_open",
    stripe_refund.c.next_at,
    postgresql_where=stripe_refund.c.state == "open",
)
Index("stripe_refund_by_charge", stripe_refund.c.charge, stripe_refund.c.ask)

# A comparison of the journal with the balance of an account, in whole minor units;
# whoever looked into its drift says so.
stripe_reconciliation = Table(
    "stripe_reconciliation",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("account", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("ran_at", DateTime(timezone=True), nullable=False),
    Column("well", Boolean, nullable=False),
    Column("found", JSONB, nullable=False),
    Column("cleared_at", DateTime(timezone=True)),
    Column("cleared_by", Text, nullable=False, server_default=""),
    Column("reason", Text, nullable=False, server_default=""),
)
