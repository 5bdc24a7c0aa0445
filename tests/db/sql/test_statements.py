"""The SQL that declarations compile to, against SQL written by hand.

Whitespace, table names in front of columns and `x AS x` are left out of the comparison.
"""

import json
import re

import pytest
from sqlalchemy.dialects.postgresql.base import PGDialect

from db.declare import (
    Address,
    Blob,
    Bool,
    Contract,
    Count,
    CountDistinct,
    Event,
    First,
    Json,
    Key,
    Latest,
    Max,
    Min,
    Projection,
    Replay,
    Stage,
    Sum,
    Text,
    Uint,
)
from db.registry import Registry
from db.sql import as_of, fold, keys, merge, repair, replay, verify
from db.sql.columns import fact_table, member_table, state_name, state_table
from db.sql.ddl import key_indexes, projection_view
from helpers.ledger import REGISTRY, abi_event

shop = Contract(
    "Shop",
    abi=[
        abi_event(
            "Sold", item="address", price="uint256", good="bool", words="string",
            kind="uint8", raw="bytes", tree="uint8[]",
        ),
        abi_event("Left", item="address", buyer="address", level="uint8"),
    ],
)  # fmt: skip


class Sold(Event):
    """A thing was sold."""

    __domain__ = "t"
    source = shop
    item = Address()
    price = Uint()
    good = Bool()
    words = Text()
    kind = Uint(8)
    raw = Blob()
    tree = Json()


class Left(Event):
    """Somebody left."""

    __domain__ = "t"
    source = shop
    item = Address()
    buyer = Address()
    level = Uint(8)


ALL = frozenset({"t.Sold", "t.Left"})
SOLD = frozenset({"t.Sold"})


def spec(**body):
    """A projection with the key `item`, as compiled."""
    inner = {"item": Key(), "__module__": "t", "__domain__": "t", **body}
    return type("Row", (Projection,), inner).spec


def plain(statement):
    """A statement as one would write it."""
    compiled = statement.compile(dialect=PGDialect(paramstyle="named"))

    def value(match):
        given = compiled.params.get(match[1])
        if given is None:
            return match[0]
        if isinstance(given, dict):
            given = json.dumps(given)
        return repr(given)

    found = re.sub(r":([a-z]\w*)", value, str(compiled).replace("::", " @@ "))
    found = found.replace(" @@ ", "::")
    found = re.sub(r"\bfacts\.t_(?:sold|left)\.", "", found)
    found = re.sub(r"\bstate\.rows_[0-9a-f]{12}\b", "state.rows", found)
    return squeeze(re.sub(r"\b(\w+) AS \1\b", r"\1", found))


def squeeze(sql):
    """SQL with one space where any is, and none inside brackets."""
    sql = re.sub(r"\s+", " ", sql).strip()
    return re.sub(r"(?<=[(\[]) | (?=[)\],])", "", sql)


def same(expected, statement):
    assert squeeze(expected) == plain(statement)


def folded(value, column="price", facts="facts.t_sold"):
    return f"""
        SELECT facts.source, facts.item, {value}
        FROM (SELECT source, item, position, {column} AS v_v FROM {facts}) AS facts
        GROUP BY facts.source, facts.item
    """


# --- fold_select: one per fold and type


@pytest.mark.parametrize(
    ("declared", "column", "expected"),
    [
        (Sum(Sold.price), "price", "coalesce(sum(facts.v_v), 0) AS v"),
        (Sum(Sold.kind), "CAST(kind AS NUMERIC)", "coalesce(sum(facts.v_v), 0) AS v"),
        (
            Sum(-Sold.price),
            "CAST(0 AS NUMERIC) - CAST(price AS NUMERIC)",
            "coalesce(sum(facts.v_v), 0) AS v",
        ),
        (Count(Sold), "1", "count(facts.v_v) AS v"),
        (CountDistinct(Sold.kind), "kind", "count(DISTINCT facts.v_v) AS v"),
        (Min(Sold.price), "price", "min(facts.v_v) AS v"),
        (Max(Sold.words), "words", 'max(facts.v_v COLLATE "C") AS v'),
        (
            First(Sold.price),
            "price",
            (
                "CAST((coalesce(min(ARRAY[CAST(facts.position AS NUMERIC),"
                " CAST(facts.v_v AS NUMERIC)]), NULL))[2] AS NUMERIC) AS v,"
                " min(facts.position) AS v_at"
            ),
        ),
        (
            Latest(Sold.kind),
            "kind",
            (
                "(coalesce(max(ARRAY[facts.position, CAST(facts.v_v AS BIGINT)]),"
                " NULL))[2] AS v, max(facts.position) AS v_at"
            ),
        ),
        (
            Latest(Sold.words),
            "words",
            (
                "convert_from((coalesce(max(ARRAY[int8send(facts.position),"
                " convert_to(facts.v_v, 'UTF8')]), NULL))[2], 'UTF8') AS v,"
                " max(facts.position) AS v_at"
            ),
        ),
        (
            Latest(Sold.good),
            "good",
            (
                "CAST((coalesce(max(ARRAY[facts.position,"
                " CASE WHEN facts.v_v THEN 1 ELSE 0 END]), NULL))[2] = 1"
                " AS BOOLEAN) AS v, max(facts.position) AS v_at"
            ),
        ),
        (
            First(Sold.raw),
            "raw",
            (
                "(coalesce(min(ARRAY[int8send(facts.position), facts.v_v]), NULL))[2]"
                " AS v, min(facts.position) AS v_at"
            ),
        ),
        (
            Latest(Sold.tree),
            "tree",
            (
                "CAST(convert_from((coalesce(max(ARRAY[int8send(facts.position),"
                " convert_to(CAST(facts.v_v AS TEXT), 'UTF8')]), NULL))[2], 'UTF8')"
                " AS JSONB) AS v, max(facts.position) AS v_at"
            ),
        ),
        (
            Latest({Sold: b"\0%"}),
            r"CAST('\x0025' AS BYTEA)",
            (
                "(coalesce(max(ARRAY[int8send(facts.position), facts.v_v])"
                " FILTER (WHERE facts.v_v IS NOT NULL), NULL))[2] AS v,"
                " max(facts.position) FILTER (WHERE facts.v_v IS NOT NULL) AS v_at"
            ),
        ),
        (
            Replay(lambda state, fact: 1, Left),
            (
                "jsonb_build_object('event', 'Left', 'position', position,"
                " 'block_time', block_time, 'item', '0x' || encode(item, 'hex'),"
                " 'buyer', '0x' || encode(buyer, 'hex'), 'level', level)"
            ),
            (
                "jsonb_agg(facts.v_v ORDER BY facts.position)"
                " FILTER (WHERE facts.v_v IS NOT NULL) AS v,"
                " max(facts.position) FILTER (WHERE facts.v_v IS NOT NULL) AS v_at"
            ),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_fold_of_each_kind(declared, column, expected):
    facts = "facts.t_left" if isinstance(declared, Replay) else "facts.t_sold"

    same(
        folded(expected, column, facts),
        fold.fold_select(spec(v=declared), fold.everything),
    )


STAGE = {"": {"0": "sold"}, "sold": {"1": "left"}}


def stage():
    return Stage(([""], Sold, "sold"), (["sold"], Left, "left"))


def test_a_stage_runs_over_the_moves_in_order():
    run = f"control.stage_fold(grouped.v, '', '{json.dumps(STAGE)}'::JSONB)"
    same(
        f"""
        SELECT grouped.source, grouped.item,
               ({run})[1] AS v,
               CAST(({run})[2] AS BIGINT) AS v_refused,
               grouped.v_at
        FROM (
            SELECT facts.source, facts.item,
                   array_agg(facts.v_v ORDER BY facts.position,
                             CAST(facts.v_v AS INTEGER))
                       FILTER (WHERE facts.v_v IS NOT NULL) AS v,
                   max(facts.position) FILTER (WHERE facts.v_v IS NOT NULL) AS v_at
            FROM (
                SELECT source, item, position, CAST('0' AS TEXT) AS v_v
                FROM facts.t_sold
                UNION ALL
                SELECT source, item, position, CAST('1' AS TEXT) AS v_v
                FROM facts.t_left
            ) AS facts
            GROUP BY facts.source, facts.item
        ) AS grouped
        """.replace("FROM ( ", "FROM ("),
        fold.fold_select(spec(v=stage()), fold.everything),
    )


def test_each_view_of_an_event_is_an_arm_of_the_union():
    declared = spec(
        item=Key(),
        paid=Sum(Sold.price, where=Sold.good == True),  # noqa: E712
        seen=Count(Left.keyed(item="buyer")),
    )

    same(
        """
        SELECT facts.source, facts.item,
               coalesce(sum(facts.v_paid), 0) AS paid, count(facts.v_seen) AS seen
        FROM (
            SELECT source, item, position, price AS v_paid,
                   CAST(NULL AS BIGINT) AS v_seen
            FROM facts.t_sold WHERE good = True
            UNION ALL
            SELECT source, buyer AS item, position, CAST(NULL AS NUMERIC) AS v_paid,
                   1 AS v_seen
            FROM facts.t_left
        ) AS facts
        GROUP BY facts.source, facts.item
        """,
        fold.fold_select(declared, fold.everything),
    )


# --- merge

NEW = """source = :source AND position BETWEEN :lowest AND :highest
         AND xmin = pg_current_xact_id()::xid"""


def merged(columns, value, column, changes):
    taken = ", ".join(f"folded.{name}" for name in columns.split(", "))
    return f"""
        WITH folded AS MATERIALIZED (
            SELECT facts.source, facts.item, {value}
            FROM (SELECT source, item, position, {column} AS v_v
                  FROM facts.t_sold WHERE {NEW}) AS facts
            GROUP BY facts.source, facts.item
        )
        INSERT INTO state.rows (source, item, {columns})
        SELECT folded.source, folded.item, {taken}
        FROM folded
        ORDER BY folded.source, folded.item
        ON CONFLICT (source, item) DO UPDATE SET {changes}
    """


@pytest.mark.parametrize(
    ("declared", "value", "column", "change"),
    [
        (Sum(Sold.price), "coalesce(sum(facts.v_v), 0) AS v", "price", "{0} + {1}"),
        (Count(Sold), "count(facts.v_v) AS v", "1", "{0} + {1}"),
        (Min(Sold.price), "min(facts.v_v) AS v", "price", "least({0}, {1})"),
        (Max(Sold.kind), "max(facts.v_v) AS v", "kind", "greatest({0}, {1})"),
        (
            Max(Sold.words),
            'max(facts.v_v COLLATE "C") AS v',
            "words",
            'greatest({0} COLLATE "C", {1})',
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_merging_adds_to_what_is_stored(declared, value, column, change):
    change = change.format("state.rows.v", "excluded.v")
    if "+" in change:
        change = f"({change})"

    same(
        merged("v", value, column, f"v = {change}"),
        merge.merge_statement(spec(v=declared), SOLD),
    )


@pytest.mark.parametrize(
    ("kind", "best", "sign"), [(First, "min", "<"), (Latest, "max", ">")]
)
def test_merging_keeps_the_value_of_the_first_or_latest_position(kind, best, sign):
    wins = f"""(state.rows.v_at IS NULL OR excluded.v_at {sign} state.rows.v_at
                OR excluded.v_at = state.rows.v_at
                   AND excluded.v {sign} state.rows.v)"""
    same(
        merged(
            "v, v_at",
            f"(coalesce({best}(ARRAY[int8send(facts.position), facts.v_v]), NULL))[2]"
            f" AS v, {best}(facts.position) AS v_at",
            "raw",
            f"""v = CASE WHEN {wins} THEN excluded.v ELSE state.rows.v END,
                v_at = CASE WHEN {wins} THEN excluded.v_at
                       ELSE state.rows.v_at END""",
        ),
        merge.merge_statement(spec(v=kind(Sold.raw)), SOLD),
    )


def test_merging_counts_the_values_that_were_not_there():
    declared = spec(v=CountDistinct(Sold.kind))

    same(
        f"""
        WITH folded AS MATERIALIZED (
            SELECT facts.source, facts.item, count(DISTINCT facts.v_v) AS v
            FROM (SELECT source, item, position, kind AS v_v
                  FROM facts.t_sold WHERE {NEW}) AS facts
            GROUP BY facts.source, facts.item
        )
        INSERT INTO state.rows (source, item) SELECT folded.source, folded.item
        FROM folded
        ORDER BY folded.source, folded.item
        ON CONFLICT (source, item) DO UPDATE SET v = state.rows.v
        """,
        merge.merge_statement(declared, SOLD),
    )
    members = f"{state_name(declared)}__v"
    found = plain(merge.member_statement(declared, declared.folds["v"], SOLD))
    assert squeeze(f"""
        WITH added AS (
            INSERT INTO state.members (source, item, _value)
            SELECT DISTINCT facts.source, facts.item, facts.v_v
            FROM (SELECT source, item, position, kind AS v_v
                  FROM facts.t_sold WHERE {NEW}) AS facts
            WHERE facts.v_v IS NOT NULL
            ORDER BY facts.source, facts.item, facts.v_v
            ON CONFLICT DO NOTHING
            RETURNING state.members.source, state.members.item)
        INSERT INTO state.rows (source, item, v)
        SELECT added.source, added.item, count(*) AS _new
        FROM added
        GROUP BY added.source, added.item ORDER BY added.source, added.item
        ON CONFLICT (source, item) DO UPDATE SET v = (state.rows.v + excluded.v)
        """) == found.replace(members, "members")
    assert member_table(declared, declared.folds["v"]).name == members


def test_nothing_is_remembered_of_events_without_values():
    declared = spec(v=CountDistinct(Sold.kind), left=Count(Left))

    left = frozenset({"t.Left"})
    assert merge.member_statement(declared, declared.folds["v"], left) is None


def test_a_stage_goes_on_from_the_stored_state():
    declared = spec(v=Stage(([""], Sold, "sold")))
    run = """control.stage_fold(grouped.v, coalesce(state.rows.v, ''),
             '{"": {"0": "sold"}}'::JSONB)"""
    late = keys.key_table(declared, "late")

    same(
        f"""
        WITH folded AS MATERIALIZED (
            SELECT grouped.source, grouped.item, ({run})[1] AS v,
                   CAST(({run})[2] AS BIGINT) AS v_refused, grouped.v_at
            FROM (
                SELECT facts.source, facts.item,
                       array_agg(facts.v_v ORDER BY facts.position,
                                 CAST(facts.v_v AS INTEGER))
                           FILTER (WHERE facts.v_v IS NOT NULL) AS v,
                       max(facts.position) FILTER (WHERE facts.v_v IS NOT NULL) AS v_at
                FROM (SELECT source, item, position, CAST('0' AS TEXT) AS v_v
                      FROM facts.t_sold
                      WHERE {NEW} AND ((source, item) NOT IN
                          (SELECT late_rows.source, late_rows.item FROM late_rows))
                     ) AS facts
                GROUP BY facts.source, facts.item
            ) AS grouped
            LEFT OUTER JOIN state.rows
                ON grouped.source = state.rows.source
                AND grouped.item = state.rows.item
        )
        INSERT INTO state.rows (source, item, v, v_refused, v_at)
        SELECT folded.source, folded.item, folded.v, folded.v_refused, folded.v_at
        FROM folded
        ORDER BY folded.source, folded.item
        ON CONFLICT (source, item) DO UPDATE SET
            v = CASE WHEN (excluded.v_at IS NOT NULL) THEN excluded.v
                ELSE state.rows.v END,
            v_refused = (state.rows.v_refused + excluded.v_refused),
            v_at = greatest(state.rows.v_at, excluded.v_at)
        """,
        merge._go_on_statement(declared, SOLD, late),
    )


def test_late_keys_are_those_with_a_fact_before_the_last_one_folded():
    declared = spec(v=Stage(([""], Sold, "sold")))
    same_row = """state.rows.source = late_rows.source
                  AND state.rows.item = late_rows.item"""
    same(
        f"""
        DELETE FROM late_rows
        WHERE (EXISTS (SELECT * FROM state.rows WHERE {same_row}
                       AND (state.rows.v_at IS NULL
                            OR late_rows._first > state.rows.v_at)))
           OR NOT (EXISTS (SELECT * FROM state.rows WHERE {same_row}))
        """,
        keys._keep_late(declared),
    )


# --- as of, repair, verify


def test_as_of_a_block_is_the_same_fold_over_fewer_facts():
    declared = spec(v=Sum(Sold.price))
    older = "facts.t_sold WHERE source = :source AND position <= :highest"

    same(
        folded("coalesce(sum(facts.v_v), 0) AS v", facts=older),
        as_of.as_of_select(declared),
    )
    one = as_of.as_of_select(declared, {"item": b"\1" * 20})
    same(
        folded(
            "coalesce(sum(facts.v_v), 0) AS v",
            facts=older + " AND item = " + repr(b"\1" * 20),
        ),
        one,
    )


def test_repair_deletes_the_rows_of_the_keys_and_folds_them_anew():
    declared = spec(v=CountDistinct(Sold.kind))
    touched = keys.key_table(declared, "touched")
    among = "SELECT touched_rows.source, touched_rows.item FROM touched_rows"

    same(
        f"""DELETE FROM state.rows
            WHERE (state.rows.source, state.rows.item) IN ({among})""",
        repair._delete_rows(state_table(declared), touched),
    )
    rows, values = repair._refill(declared, touched)
    facts = f"""(SELECT source, item, position, kind AS v_v FROM facts.t_sold
                 WHERE (source, item) IN ({among})) AS facts"""
    same(
        f"""
        INSERT INTO state.rows (source, item, v)
        SELECT folded.source, folded.item, folded.v
        FROM (SELECT facts.source, facts.item, count(DISTINCT facts.v_v) AS v
              FROM {facts} GROUP BY facts.source, facts.item) AS folded
        ORDER BY folded.source, folded.item
        """,
        rows,
    )
    assert squeeze(f"""
        INSERT INTO state.rows__v (source, item, _value)
        SELECT DISTINCT facts.source, facts.item, facts.v_v
        FROM {facts} WHERE facts.v_v IS NOT NULL
        """) == plain(values).replace(state_name(declared), "rows")


def test_verify_joins_stored_and_folded_rows():
    same(
        f"""
        SELECT coalesce(state.rows.source, folded.source) AS source,
               coalesce(state.rows.item, folded.item) AS item,
               state.rows.source AS _stored_source, state.rows.v AS _stored_v,
               folded.source AS _folded_source, folded.v AS _folded_v
        FROM state.rows FULL OUTER JOIN (
            {folded("coalesce(sum(facts.v_v), 0) AS v")}
        ) AS folded
        ON state.rows.source = folded.source AND state.rows.item = folded.item
        WHERE state.rows.source IS NULL OR folded.source IS NULL
           OR state.rows.v IS DISTINCT FROM folded.v
        """,
        verify.verify_select(spec(v=Sum(Sold.price))),
    )


def test_verify_compares_every_stored_column():
    for projection in REGISTRY.projections.values():
        found = str(verify.verify_select(projection.spec))
        replays = {n for n, f in projection.spec.folds.items() if isinstance(f, Replay)}
        if replays:
            continue  # every row is fetched and compared in Python
        for column in state_table(projection.spec).columns:
            name = column.name
            if name not in ("source", *projection.spec.keys):
                assert f".{name} IS DISTINCT FROM folded.{name}" in found


# --- names, and what older servers know


def test_no_name_is_longer_than_postgres_keeps():
    long = "a" * 41
    declared = type(
        "Row",
        (Projection,),
        {
            "item": Key(),
            "plural": "p" * 45,
            long: CountDistinct(Sold.kind),
            long[:-1] + "b": CountDistinct(Sold.price),
            "index": (long, long[:-1] + "b"),
            "__module__": "t",
        },
    ).spec
    state = state_table(declared)
    members = [member_table(declared, f) for f in declared.folds.values()]
    names = [t.name for t in (state, *members)]
    names += [t.primary_key.name for t in (state, *members)]
    names += [index.name for index in state.indexes]

    assert all(len(name) <= 63 for name in names)
    assert len(names) == len(set(names))
    assert all(t.name.startswith(f"{state.name}__") for t in members)


def test_key_indexes_leave_the_tables_of_facts_alone():
    """An index put on the table itself would be made again with the table."""
    before = set(fact_table(Sold).indexes)
    declared = spec(v=Count(Sold), left=Count(Left.keyed(item="buyer")))

    names = {index.name for index in key_indexes([declared, declared])}

    assert {"t_sold_by_item", "t_left_by_buyer"} == names
    assert before == set(fact_table(Sold).indexes)


def test_statements_for_sets_of_events_do_not_pile_up():
    """A projection of fourteen events may meet thousands of sets of them."""
    declared = spec(v=CountDistinct(Sold.kind), stage=stage())
    late = keys.key_table(declared, "late")
    merge._go_on_statement(declared, ALL, late)

    for function in (
        merge.merge_statement,
        merge.member_statement,
        merge._go_on_statement,
        keys._fill_touched,
        replay._new_facts,
    ):
        assert function.cache_info().maxsize <= 1000


# Every function that statements call, with the version of Postgres that brought it.
KNOWN = {
    "array_agg": 8, "cast": 7, "coalesce": 7, "control.base58": 0,
    "control.code_text": 0, "control.moment": 0, "control.stage_fold": 0,
    "control.time_span": 0,
    "convert_from": 8, "convert_to": 8, "count": 7, "div": 9, "encode": 7,
    "greatest": 8, "int8send": 7, "jsonb_agg": 9, "jsonb_array_elements_text": 9,
    "jsonb_build_object": 9, "jsonb_path_query_array": 12, "least": 8,
    "max": 7, "min": 7, "mod": 7, "nullif": 7, "pg_current_xact_id": 13, "sum": 7,
    "to_jsonb": 9, "trim_scale": 13,
}  # fmt: skip
WORDS = {"as", "and", "or", "not", "in", "from", "exists", "filter", "join", "on"} | {
    "when", "where", "conflict", "union", "distinct", "values", "select", "array",
}  # fmt: skip


def test_nothing_newer_than_postgres_14_is_called():
    registry = Registry.load()
    found = set()
    for projection in [*REGISTRY.projections.values(), *registry.projections.values()]:
        row = projection.spec
        events = frozenset(event.spec.id for event in row.events)
        touched = keys.key_table(row, "touched")
        statements = [
            merge.merge_statement(row, events),
            merge._go_on_statement(row, events, touched) if row.replayed else None,
            as_of.as_of_select(row),
            verify.verify_select(row),
            projection_view(row),
            *repair._refill(row, touched),
        ]
        for statement in filter(lambda each: each is not None, statements):
            sql = str(statement.compile(dialect=PGDialect(paramstyle="named")))
            found |= set(re.findall(r"([\w.]+)\(", sql.lower()))

    called = {name for name in found if name not in WORDS}
    called = {name for name in called if not name.startswith(("state.", "facts."))}
    assert set() == called - set(KNOWN)
    assert max(KNOWN.values()) <= 14
