"""(c) The naive way: web3.py get_logs and process_log, one upsert a row.

naive.py URL DATABASE_URL BLOCKS; prints the events it wrote and its own seconds.
"""

import json
import sys
import time

import psycopg2
from web3 import Web3

from bench.declarations import campaigns, factory, token
from bench.recording import CREATED, INVESTED, TRANSFER

TABLES = """
CREATE TABLE n_transfer (position bigint PRIMARY KEY, sender bytea, recipient bytea,
  value numeric(78,0));
CREATE TABLE n_invested (position bigint PRIMARY KEY, campaign bytea, investor bytea,
  amount numeric(78,0));
CREATE TABLE n_balance (holder bytea PRIMARY KEY, balance numeric);
CREATE TABLE n_campaign (campaign bytea PRIMARY KEY, issuer bytea, goal numeric,
  raised numeric DEFAULT 0, investments bigint DEFAULT 0, last_invested_at bigint);
CREATE TABLE n_holding (campaign bytea, investor bytea, paid_in numeric,
  investments bigint, PRIMARY KEY (campaign, investor));
"""


def raw(address):
    return bytes.fromhex(address[2:])


def main(url, database_url, blocks):
    w3 = Web3(Web3.HTTPProvider(url))
    events = {
        TRANSFER: w3.eth.contract(abi=token.abi).events.Transfer(),
        CREATED: w3.eth.contract(abi=factory.abi).events.CampaignCreated(),
        INVESTED: w3.eth.contract(abi=campaigns.abi).events.Invested(),
    }
    connection = psycopg2.connect(database_url)
    with connection, connection.cursor() as cursor:
        cursor.execute(TABLES)
    count, started = 0, time.monotonic()
    for first in range(0, blocks, 10):
        logs = w3.eth.get_logs({"fromBlock": first, "toBlock": first + 9})
        with connection, connection.cursor() as cursor:
            for log in logs:
                event = events[log["topics"][0].to_0x_hex()].process_log(log)
                write(cursor, event)
                count += 1
    print(json.dumps({"facts": count, "seconds": time.monotonic() - started}))


def write(cursor, event):
    args, at = event["args"], event["blockNumber"] << 32 | event["logIndex"]
    if event["event"] == "Transfer":
        sender, recipient = raw(args["from"]), raw(args["to"])
        cursor.execute(
            "INSERT INTO n_transfer VALUES (%s,%s,%s,%s)",
            (at, sender, recipient, args["value"]),
        )
        for holder, value in ((sender, -args["value"]), (recipient, args["value"])):
            cursor.execute(
                "INSERT INTO n_balance VALUES (%s,%s) ON CONFLICT (holder) DO UPDATE"
                " SET balance = n_balance.balance + excluded.balance",
                (holder, value),
            )
    elif event["event"] == "CampaignCreated":
        cursor.execute(
            "INSERT INTO n_campaign (campaign, issuer, goal) VALUES (%s,%s,%s)",
            (raw(args["campaign"]), raw(args["issuer"]), args["goal"]),
        )
    else:
        campaign, investor = raw(event["address"]), raw(args["investor"])
        cursor.execute(
            "INSERT INTO n_invested VALUES (%s,%s,%s,%s)",
            (at, campaign, investor, args["amount"]),
        )
        cursor.execute(
            "UPDATE n_campaign SET raised = raised + %s, investments = investments + 1,"
            " last_invested_at = %s WHERE campaign = %s",
            (args["amount"], event["blockNumber"], campaign),
        )
        cursor.execute(
            "INSERT INTO n_holding VALUES (%s,%s,%s,1) ON CONFLICT (campaign, investor)"
            " DO UPDATE SET paid_in = n_holding.paid_in + excluded.paid_in,"
            " investments = n_holding.investments + 1",
            (campaign, investor, args["amount"]),
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
