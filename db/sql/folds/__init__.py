"""Folds in SQL, one class each: `columns`, `lift`, `combine`, and what readers see.

A fold of the vocabulary (`db.declare.folds`) is compiled by the class that is named for
it here, and by nothing else.
"""

from functools import cache
from typing import Any

from db.declare import (
    Count,
    CountDistinct,
    First,
    Fold,
    Latest,
    Max,
    Min,
    Replay,
    Stage,
    Sum,
    Top,
)
from db.declare.projections import ProjectionSpec
from db.sql.folds.base import SqlFold
from db.sql.folds.distinct import CountDistinctFold
from db.sql.folds.numbers import CountFold, MaxFold, MinFold, SumFold
from db.sql.folds.ordered import ReplayFold, StageFold
from db.sql.folds.positions import FirstFold, LatestFold
from db.sql.folds.top import TopFold

_CLASSES: dict[type[Fold], type[SqlFold[Any]]] = {
    Count: CountFold,
    CountDistinct: CountDistinctFold,
    First: FirstFold,
    Latest: LatestFold,
    Max: MaxFold,
    Min: MinFold,
    Replay: ReplayFold,
    Stage: StageFold,
    Sum: SumFold,
    Top: TopFold,
}


@cache
def sql_fold(fold: Fold) -> SqlFold[Any]:
    """The SQL of a fold."""
    return _CLASSES[type(fold)](fold)


def sql_folds(spec: ProjectionSpec) -> list[SqlFold[Any]]:
    """The SQL of each fold of a projection, in order of declaration."""
    return [sql_fold(fold) for fold in spec.folds.values()]
