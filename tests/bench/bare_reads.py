"""What a list costs at least: Flask, psycopg2 and orjson, written by hand.

    python bare_reads.py PORT DATABASE_URL WORKERS

One route that knows its table: no filters, no cursor, no block that the answer is true
for, no tags, no counting of requests, no limits of bodies or of time.
"""

import sys

import orjson
import psycopg2.pool
from flask import Flask, Response, request
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from psycopg2.extras import RealDictCursor

THREADS = 8
SOURCE = 1


def etb(*names):
    """Amounts in ETB."""
    return ", ".join(f"trim_scale({each} * 1e-18)::text AS {each}" for each in names)


def times(*names):
    """Times in RFC 3339."""
    form = """'YYYY-MM-DD"T"HH24:MI:SS"Z"'"""
    return ", ".join(
        f"to_char(to_timestamp({each}::float8) AT TIME ZONE 'UTC', {form}) AS {each}"
        for each in names
    )


HELD = "(native_raised - released - fees + deferred - refunded)"
QUERY = f"""
SELECT '0x' || encode(campaign, 'hex') AS campaign, campaign_id, company_name,
    '0x' || encode(issuer, 'hex') AS issuer, '0x' || encode(creator, 'hex') AS creator,
    {etb("goal")}, {times("deadline", "created_at")}, description, document_hash,
    {etb("threshold")}, fee_bps,
    {etb("raised", "native_raised", "released", "fees", "fiat_due", "fiat_fees_due")},
    {etb("deferred", "refunds_announced", "refunded", "fiat_refunds_owed")},
    investments, investors, {times("last_invested_at", "completed_at")}, paused,
    cancel_reason, stage, trim_scale({HELD} * 1e-18)::text AS held,
    raised * 100 >= goal * 75 AS funded,
    div(raised * 100, nullif(goal, 0))::text AS progress_percent, stage_refused
FROM state.campaigns AS c WHERE source = %s
ORDER BY c.created_at DESC, c.campaign DESC LIMIT %s
"""


def make_app(url):
    """The app of one worker process."""
    app = Flask("bare")
    pool = psycopg2.pool.ThreadedConnectionPool(THREADS, THREADS, url)

    @app.get("/api/v1/campaigns")
    def campaigns():
        limit = min(int(request.args.get("limit", 20)), 200)
        connection = pool.getconn()
        try:
            connection.autocommit = True
            with connection.cursor(cursor_factory=RealDictCursor) as cursor:
                cursor.execute(QUERY, (SOURCE, limit + 1))
                rows = cursor.fetchall()
        finally:
            pool.putconn(connection)
        content = {"data": rows[:limit], "next": len(rows) > limit}
        return Response(orjson.dumps(content), mimetype="application/json")

    return app


def main(port, url, workers):
    """Serve until a signal."""
    server = Granian(
        "bare", address="127.0.0.1", port=port, interface=Interfaces.WSGI,
        http=HTTPModes.http1, workers=workers, blocking_threads=THREADS,
        log_level=LogLevels.error,
    )  # fmt: skip
    server.serve(target_loader=lambda *_: make_app(url), wrap_loader=False)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
