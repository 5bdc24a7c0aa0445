"""The heart test can fail: each planted bug is found within a few histories.

A bug replaces one function of the product. Statements are compiled once and cached, so
the caches are emptied before and after.
"""

import importlib
import itertools
import pkgutil
import random
from contextlib import contextmanager

import pytest
from sqlalchemy import delete, desc, false, text
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.exc import DatabaseError

import db.sql
from db import blocks, copy, coverage, folding
from db.declare.buckets import TimeBucket
from db.declare.events import EventView
from db.position import MAX_HEIGHT, BlockRange
from db.sql import as_of, fold, keys, merge, repair, replay, verify
from db.sql.folds import ordered
from db.sql.folds.numbers import MaxFold, SumFold
from db.sql.folds.ordered import StageFold
from db.sql.folds.positions import FirstFold, LatestFold
from db.sql.folds.top import TopFold
from helpers.history import History, cut
from helpers.ledger import REGISTRY
from helpers.tables import check, empty, fill_gaps, streams, write_both
from indexer import writer
from indexer.errors import Reorg
from indexer.writer import rewind, write_batch

SEEDS = range(1, 9)

pytestmark = pytest.mark.slow


def life(engine, seed):
    """A chain's life in little: filters, overlaps, a reorg, and what verify sees."""
    rng = random.Random(seed)
    history = History.of(seed, 12)
    source = empty(engine)

    def half(blocks_, filter_, parity):
        batch = history.batch(blocks_, lambda fact: fact.position % 2 == parity)
        return batch, streams(REGISTRY, filter_)

    for each in cut(history, rng, overlap=True, pieces=3):
        write_both(
            engine, REGISTRY, source, half(each, "even", 0), half(each, "odd", 1)
        )
    check(engine, REGISTRY, source, history, rng)

    changed = history.fork(rng.randint(2, 6), 5, rng)
    fork = BlockRange(changed, history.height)
    with pytest.raises(Reorg):
        write_batch(engine, REGISTRY, source, *half(fork, "even", 0))
    rewind(engine, REGISTRY, source, changed)
    # From here on a filter lets all through, and the blocks are those not covered.
    wanted = streams(REGISTRY, "even")
    fill_gaps(engine, REGISTRY, source, history, wanted, limit=2)
    check(engine, REGISTRY, source, history, rng)
    verify_sees_any_change(engine)


def verify_sees_any_change(engine):
    for projection in REGISTRY.projections.values():
        table = f"state.{projection.spec.plural}"
        with engine.connect() as connection:
            for name in projection.spec.folds:
                point = connection.begin_nested()
                connection.execute(
                    text(f"UPDATE {table} SET {name} = :new"),
                    {"new": wrong_value(connection, table, name)},
                )
                found = next(verify.differences(connection, projection.spec), None)
                point.rollback()
                assert found is not None, f"{table}.{name} was changed"


def wrong_value(connection, table, column):
    kind = connection.execute(text(f"SELECT pg_typeof({column}) FROM {table}")).scalar()
    wrong = {"text": "no", "boolean": None, "bytea": b"no", "jsonb": "7"}
    return wrong.get(kind, 77)


# --- the bugs


def repeated_facts_are_merged_again(patch):
    def merge_all(connection, spec, source, repaired, added):
        everything = BlockRange(0, MAX_HEIGHT)
        merge.merge(
            connection,
            spec,
            source=source,
            blocks=everything,
            events=frozenset(repaired),
        )

    patch.setattr(folding, "_repair_added", merge_all)
    patch.setattr(merge, "just_written", fold.within_range)


def facts_that_were_there_are_left_out_of_the_rows(patch):
    patch.setattr(folding, "_repair_added", lambda *args: None)


def what_others_write_meanwhile_is_merged_too(patch):
    patch.setattr(merge, "just_written", fold.within_range)


def combining(patch, kind, change):
    """Let folds of a kind combine stored and new values in another way."""
    right = kind.combine
    patch.setattr(kind, "combine", lambda each, old, new: change(right, each, old, new))


def latest_keeps_the_earliest(patch):
    patch.setattr(LatestFold, "wins", FirstFold.wins)


def first_takes_whatever_came_last(patch):
    combining(patch, FirstFold, lambda right, f, old, new: {f.name: new[f.name]})


def sum_replaces(patch):
    combining(patch, SumFold, lambda right, f, old, new: {f.name: new[f.name]})


def max_is_min(patch):
    patch.setattr(MaxFold, "choice", "least")


def moves_refused_before_are_forgotten(patch):
    combining(
        patch,
        StageFold,
        lambda right, f, old, new: {**right(f, old, new), f.refused: new[f.refused]},
    )


class Repeating(Insert):
    """An insert that returns the rows that were there already as well."""

    inherit_cache = False

    def on_conflict_do_nothing(self, *args, **kwargs):
        names = [column.name for column in self.table.primary_key]
        last = names[-1]
        return self.on_conflict_do_update(
            index_elements=names, set_={last: self.excluded[last]}
        )


def values_are_counted_again(patch):
    patch.setattr(merge, "insert", Repeating)


def repair_forgets_the_values_counted(patch):
    patch.setattr(repair, "member_folds", lambda spec: [])


def repair_leaves_the_old_rows(patch):
    right = repair._delete_rows
    patch.setattr(
        repair, "_delete_rows", lambda table, keys: right(table, keys).where(false())
    )


def a_rewind_forgets_no_coverage(patch):
    patch.setattr(coverage, "unmark_from", lambda *args: None)


def a_rewind_forgets_one_block_too_few(patch):
    right = coverage.unmark_from
    patch.setattr(coverage, "unmark_from", lambda c, s, height: right(c, s, height + 1))


def a_rewind_keeps_the_facts_of_its_first_block(patch):
    right = copy.delete_facts
    patch.setattr(
        folding,
        "delete_facts",
        lambda c, event, source, lowest: right(c, event, source, lowest + (1 << 32)),
    )


def a_rewind_recomputes_nothing(patch):
    right = folding.unfold_from

    def wrong(*args):
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(folding, "recompute", lambda *args: 0)
            return right(*args)

    patch.setattr(writer, "unfold_from", wrong)


def a_rewind_remembers_the_blocks_that_are_gone(patch):
    patch.setattr(blocks, "forget_from", lambda *args: None)


def broken_links_are_not_seen(patch):
    patch.setattr(blocks, "broken_link", lambda *args: None)


def a_range_is_marked_one_block_too_long(patch):
    right = coverage.record
    patch.setattr(
        coverage,
        "record",
        lambda c, s, streams, each: right(
            c, s, streams, BlockRange(each.first, each.last + 1)
        ),
    )


def late_keys_are_not_recomputed(patch):
    right = keys.late_keys

    def wrong(connection, *args):
        table = right(connection, *args)
        connection.execute(delete(table))
        return table

    patch.setattr(keys, "late_keys", wrong)


def a_stage_ignores_order(patch):
    right = ordered.aggregate_order_by
    patch.setattr(
        ordered, "aggregate_order_by", lambda value, at, *more: right(value, desc(at))
    )


def a_stage_begins_anew_with_every_range(patch):
    right = fold.fold_select
    patch.setattr(
        merge,
        "fold_select",
        lambda *args, stored=None, **kwargs: right(*args, **kwargs),
    )


def a_replay_begins_anew_with_every_range(patch):
    right = replay._reduce_row
    patch.setattr(
        replay,
        "_reduce_row",
        lambda spec, row, names, *, resume: right(spec, row, names, resume=False),
    )


def as_of_is_one_block_early(patch):
    right = as_of.bindparam

    def wrong(name, **kwargs):
        found = right(name, **kwargs)
        return found - (1 << 32) if name == "highest" else found

    patch.setattr(as_of, "bindparam", wrong)


def verify_compares_all_but_one_column(patch):
    right = verify.or_
    patch.setattr(verify, "or_", lambda *compared: right(*compared[:-1]))


def verify_looks_for_missing_rows_only(patch):
    right = verify.or_
    patch.setattr(verify, "or_", lambda *compared: right(*compared[:2]))


def views_with_other_keys_are_swapped(patch):
    right = EventView.field_for_key
    swap = {"sender": "recipient", "recipient": "sender"}

    def wrong(view, key):
        found = right(view, key)
        name = swap.get(found.name)
        return view.event.spec.fields[name] if view.keys and name else found

    patch.setattr(EventView, "field_for_key", wrong)


def conditions_are_ignored(patch):
    patch.setattr(fold, "view_condition", lambda view: [])


def buckets_end_where_they_should_begin(patch):
    right = fold.key_column

    def wrong(table, field):
        late = field.seconds if isinstance(field, TimeBucket) else None
        found = right(table, field)
        return found if late is None else found + late

    patch.setattr(fold, "key_column", wrong)


def the_greatest_of_before_are_forgotten(patch):
    combining(patch, TopFold, lambda right, f, old, new: {f.name: new[f.name]})


BUGS = [
    the_greatest_of_before_are_forgotten,
    buckets_end_where_they_should_begin,
    repeated_facts_are_merged_again,
    facts_that_were_there_are_left_out_of_the_rows,
    what_others_write_meanwhile_is_merged_too,
    latest_keeps_the_earliest,
    first_takes_whatever_came_last,
    sum_replaces,
    max_is_min,
    moves_refused_before_are_forgotten,
    values_are_counted_again,
    repair_forgets_the_values_counted,
    repair_leaves_the_old_rows,
    a_rewind_forgets_no_coverage,
    a_rewind_forgets_one_block_too_few,
    a_rewind_keeps_the_facts_of_its_first_block,
    a_rewind_recomputes_nothing,
    a_rewind_remembers_the_blocks_that_are_gone,
    broken_links_are_not_seen,
    a_range_is_marked_one_block_too_long,
    late_keys_are_not_recomputed,
    a_stage_ignores_order,
    a_stage_begins_anew_with_every_range,
    a_replay_begins_anew_with_every_range,
    as_of_is_one_block_early,
    verify_compares_all_but_one_column,
    verify_looks_for_missing_rows_only,
    views_with_other_keys_are_swapped,
    conditions_are_ignored,
]


def forget_statements():
    """Empty every cache of the compiler."""
    for found in pkgutil.iter_modules(db.sql.__path__):
        module = importlib.import_module(f"db.sql.{found.name}")
        for item in vars(module).values():
            if hasattr(item, "cache_clear"):
                item.cache_clear()


@contextmanager
def planted(bug):
    forget_statements()
    with pytest.MonkeyPatch.context() as patch:
        bug(patch)
        try:
            yield
        finally:
            forget_statements()


def test_without_a_bug_all_is_well(engine):
    for seed in itertools.islice(SEEDS, 2):
        life(engine, seed)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(engine, bug):
    with planted(bug):
        for seed in SEEDS:
            try:
                life(engine, seed)
            except (AssertionError, DatabaseError, pytest.fail.Exception, Reorg):
                return
    pytest.fail(f"{len(SEEDS)} histories did not show it")
