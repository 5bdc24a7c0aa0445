"""Projections as text: one line a column, in the language of the Python declarations.

    holder = "Key()"
    received = "Sum(token.Transfer.keyed(holder='to_').value)"
    spent = "Sum(token.Transfer.keyed(holder='from_').value)"
    balance = "received - spent"

in `[tables.<name>]` of the settings is the projection that a class with these lines in
its body is: the same tables, the same fingerprint. Events are `<domain>.<Event>`, where
the domain of a contract of the settings is its name. A line may name columns above it.
Text is parsed and walked, never run: what is not in the language is refused, with the
word that is wrong.
"""

import ast
import difflib
import inspect
import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.declare.errors import DeclarationError
from db.declare.events import Event, EventMeta, EventView
from db.declare.expressions import Expression
from db.declare.folds import (
    Average,
    Count,
    CountDistinct,
    First,
    Fold,
    Latest,
    Max,
    Min,
    Stage,
    Sum,
    Top,
)
from db.declare.projections import Bucket, Key, Projection

DOMAIN = "tables"
LINE_LENGTH_MAX = 2000  # characters; the parser is recursive
_WORDS: Mapping[str, type] = {
    each.__name__: each
    for each in (
        Average, Bucket, Count, CountDistinct, First, Key, Latest, Max, Min, Stage, Sum,
        Top,
    )
}  # fmt: skip
_OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv, ast.Div: operator.truediv,
    ast.BitAnd: operator.and_, ast.BitOr: operator.or_,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Domain:
    """The events of one domain, by name."""

    name: str
    events: Mapping[str, type[Event]]


def read_projection(
    name: str,
    lines: Mapping[str, str],
    events: Collection[type[Event]],
    *,
    index: Sequence[str] = (),
    doc: str = "",
) -> type[Projection]:
    """The projection that a table's lines declare; raises DeclarationError."""
    place = f"[tables.{name}]"
    domains: dict[str, dict[str, type[Event]]] = {}
    for event in events:
        domains.setdefault(event.spec.domain, {})[event.spec.name] = event
    body: dict[str, Any] = {}
    for column, line in lines.items():
        known = {key: _Domain(key, found) for key, found in domains.items()}
        body[column] = _Line(place, column, line, {**known, **body}).read()
    described = {
        "plural": name, "index": tuple(index), "__doc__": doc or f"The table {name}.",
        "__domain__": DOMAIN, "__module__": __name__,
    }  # fmt: skip
    class_name = "".join(part.capitalize() for part in name.split("_")) or name
    try:
        return type(class_name, (Projection,), {**body, **described})
    except DeclarationError as error:
        column = error.subject.removeprefix(f"{class_name}.")
        of = column if column in lines else re.sub("_(sum|count)$", "", column)
        shown = f'\n    {of} = "{lines[of]}"' if of in lines else ""
        raise DeclarationError(
            column if shown else name,
            error.problem,
            error.remedy,
            place,
            shown,
        ) from None


class _Line:
    """One column's line, walked from its syntax tree."""

    def __init__(
        self, place: str, column: str, text: str, names: Mapping[str, Any]
    ) -> None:
        self._place, self._column, self._text = place, column, text
        self._names = names

    def read(self) -> Any:
        """The key, fold or row expression that the line is."""
        if len(self._text) > LINE_LENGTH_MAX:
            raise self._wrong(
                None, f"it is longer than {LINE_LENGTH_MAX} characters", "shorten it"
            )
        try:
            tree = ast.parse(self._text, mode="eval").body
        except (SyntaxError, ValueError) as error:
            at = getattr(error, "offset", None) or 1
            raise self._point(at - 1, 1, f"{error}", "correct the syntax") from None
        found = self._value(tree)
        if isinstance(found, type) and issubclass(found, Key):
            raise self._wrong(tree, "a word without parentheses", "write Key()")
        if not isinstance(found, Key | Expression):
            raise self._wrong(
                tree,
                "it is no key, fold or expression of columns",
                f"write one of {', '.join(f'{word}(…)' for word in _WORDS)}",
            )
        used = self._names.values()
        if isinstance(found, Fold | Key) and any(found is each for each in used):
            raise self._wrong(
                tree, "the column is there already", "take one of the two out"
            )
        return found

    def _value(self, node: ast.expr) -> Any:
        """The value of a node; an error of the language points at the node."""
        try:
            return self._read(node)
        except DeclarationError as error:
            if error.args and self._place in str(error):
                raise
            raise self._wrong(node, error.problem, error.remedy) from None
        except (TypeError, ValueError) as error:
            raise self._wrong(node, str(error), "correct the expression") from None

    def _read(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=bool() | int() | str() as value):
                return value
            case ast.Name(id=name):
                return self._name(node, name)
            case ast.Attribute(value=value, attr=attr):
                return self._attribute(node, self._value(value), attr)
            case ast.Call(func=function, args=args, keywords=keywords):
                given = {each.arg or "": self._value(each.value) for each in keywords}
                if "" in given:
                    raise self._wrong(node, "** is not known here", "name each")
                called = self._value(function)
                if not callable(called) or isinstance(called, Expression):
                    raise self._wrong(function, "it cannot be called", self._choices())
                self._check_names(called, keywords)
                return called(*map(self._value, args), **given)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](self._value(left), self._value(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                if type(op) in _OPERATORS:
                    return _OPERATORS[type(op)](self._value(left), self._value(right))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._value(operand)
            case ast.List(elts=parts):
                return [self._value(part) for part in parts]
            case ast.Tuple(elts=parts):
                return tuple(self._value(part) for part in parts)
            case ast.Dict(keys=keys, values=values) if all(keys):
                return {
                    self._value(key): self._value(value)
                    for key, value in zip(keys, values, strict=True)
                    if key is not None
                }
        raise self._wrong(
            node,
            "this is not in the language",
            "use + - * //, comparisons two at a time, & and | with parentheses",
        )

    def _check_names(self, called: Any, keywords: Sequence[ast.keyword]) -> None:
        """Refuse a named argument that the fold or method does not take."""
        takes = inspect.signature(called).parameters.values()
        if any(each.kind is each.VAR_KEYWORD for each in takes):
            return
        known = [each.name for each in takes if each.kind is each.KEYWORD_ONLY]
        for each in keywords:
            if each.arg not in known:
                word = str(each.arg)
                raise self._point(
                    self._offset(each.col_offset),
                    len(word),
                    f"there is no {word}=",
                    _nearest(word, known) or f"use {', '.join(known) or 'none'}",
                )

    def _name(self, node: ast.expr, name: str) -> Any:
        if name in self._names:
            return self._names[name]
        if name in _WORDS:
            return _WORDS[name]
        known = [*self._names, *_WORDS]
        raise self._wrong(
            node, f"nothing is called {name}", _nearest(name, known) or self._choices()
        )

    def _attribute(self, node: ast.Attribute, of: Any, attr: str) -> Any:
        if isinstance(of, _Domain):
            if attr in of.events:
                return of.events[attr]
            problem, known = f"{of.name} has no event {attr}", list(of.events)
        elif isinstance(of, EventView | EventMeta):
            event = of.event if isinstance(of, EventView) else of
            fields, implicit = event.spec.fields, event.spec.source.implicit
            if attr in ("keyed", "only") or attr in fields or attr in implicit:
                return getattr(of, attr)
            problem = f"{event.spec.name} has no field {attr}"
            known = [*fields, *implicit, "keyed", "only"]
        else:
            raise self._wrong(node, f"nothing has a {attr} here", self._choices())
        raise self._word(
            node, attr, problem, _nearest(attr, known) or f"use {', '.join(known)}"
        )

    def _choices(self) -> str:
        domains = [n for n, each in self._names.items() if isinstance(each, _Domain)]
        return (
            f"use {', '.join(_WORDS)}, events of {', '.join(domains)}, or columns above"
        )

    def _word(
        self, node: ast.Attribute, attr: str, problem: str, remedy: str
    ) -> DeclarationError:
        """The error of the word behind the last point of a node."""
        end = self._offset(node.end_col_offset or 0)
        return self._point(end - len(attr), len(attr), problem, remedy)

    def _wrong(
        self, node: ast.expr | None, problem: str, remedy: str
    ) -> DeclarationError:
        if node is None:
            return self._point(0, 1, problem, remedy)
        start = self._offset(node.col_offset)
        end = self._offset(node.end_col_offset or node.col_offset + 1)
        return self._point(start, end - start, problem, remedy)

    def _offset(self, bytes_: int) -> int:
        """The characters before a place that the parser gives in bytes."""
        return len(self._text.encode()[:bytes_].decode())

    def _point(
        self, start: int, length: int, problem: str, remedy: str
    ) -> DeclarationError:
        line = f'    {self._column} = "{self._text}"'
        marks = " " * (line.index('"') + 1 + start) + "^" * max(1, length)
        word = re.sub(r"\s+", " ", self._text[start : start + length])
        return DeclarationError(
            self._column,
            f"{problem}, at {word!r}",
            remedy,
            self._place,
            f"\n{line}\n{marks}",
        )


def _nearest(word: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}" if close else ""
