"""Compare answers with what the classes of the `stripe` package annotate.

The package's own source is read, so that nothing here repeats a list of fields: which
there are, which are always there (not `Optional`), and of which type each is.
"""

import ast
import importlib
import inspect
from functools import cache

import stripe
from stripe._object_classes import OBJECT_CLASSES

SCALARS = {"int": int, "str": str, "bool": bool, "float": (int, float)}


@cache
def body_of(cls):
    """The class's own part of its module's source."""
    tree = ast.parse(inspect.getsource(importlib.import_module(cls.__module__)))
    node = tree
    for part in cls.__qualname__.split("."):
        node = next(
            each
            for each in node.body
            if isinstance(each, ast.ClassDef) and each.name == part
        )
    return node


@cache
def fields_of(cls):
    """Each field's annotation, by its name in the API."""
    renamed = {v: k for k, v in getattr(cls, "_field_remappings", {}).items()}
    return {
        renamed.get(each.target.id, each.target.id): each.annotation
        for each in body_of(cls).body
        if isinstance(each, ast.AnnAssign)
        and "ClassVar" not in ast.unparse(each.annotation)
        and not each.target.id.startswith("_")
    }


def class_of(kind):
    """The class of an object by its `object`."""
    found = OBJECT_CLASSES.get(kind)
    if isinstance(found, tuple):
        found = getattr(importlib.import_module(found[0]), found[1])
    return found


def differences(value, cls=None, where=""):
    """Everything in which an object is not what its class says."""
    cls = cls or class_of(value.get("object"))
    where = where or value.get("object") or cls.__name__
    if cls is None:
        yield f"{where}: the package knows no {value.get('object')!r}"
        return
    fields = fields_of(cls)
    for name in value.keys() - fields.keys():
        yield f"{where}.{name}: {cls.__name__} has no such field"
    for name, annotation in fields.items():
        if name in value:
            yield from wrong(value[name], annotation, cls, f"{where}.{name}")
        elif not optional(annotation):
            yield f"{where}.{name}: it is always there, and missing"


def optional(annotation):
    return ast.unparse(annotation).startswith("Optional[")


def wrong(value, annotation, cls, where):
    """Everything in which a value is not of its annotation."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if isinstance(annotation, ast.Name | ast.Attribute):
        if value is None:
            yield f"{where}: null, which it never is"
            return
        yield from _wrong_of_class(value, ast.unparse(annotation), cls, where)
        return
    head = ast.unparse(annotation.value)
    inner = annotation.slice
    if head == "Optional":
        if value is not None:
            yield from wrong(value, inner, cls, where)
    elif value is None:
        yield f"{where}: null, which it never is"
    elif head == "Literal":
        allowed = ast.literal_eval(inner)
        allowed = allowed if isinstance(allowed, tuple) else (allowed,)
        if value not in allowed:
            yield f"{where}: {value!r} is not one of {allowed}"
    elif head == "Union":
        tried = [list(wrong(value, each, cls, where)) for each in inner.elts]
        if all(tried):
            yield from min(tried, key=len)
    elif head == "List":
        yield from _wrong_list(value, inner, cls, where)
    elif head == "ExpandableField":
        if not isinstance(value, str):
            yield from differences(value, None, where)
    elif head == "UntypedStripeObject":
        if not isinstance(value, dict):
            yield f"{where}: {value!r} is no object"
        elif ast.unparse(inner) == "str":
            for key, item in value.items():
                if not isinstance(item, str):
                    yield f"{where}.{key}: {item!r} is no text"
    elif head == "ListObject":
        yield from differences_of_list(value, where)
    else:
        yield f"{where}: {ast.unparse(annotation)} is not understood by this test"


def differences_of_list(value, where="list"):
    """The same for a list of objects."""
    extra = value.keys() - {"object", "data", "has_more", "url"}
    if extra or value.get("object") != "list" or type(value["has_more"]) is not bool:
        yield f"{where}: it is no list: {sorted(value)}"
    for at, each in enumerate(value["data"]):
        yield from differences(each, None, f"{where}[{at}]")


def _wrong_list(value, inner, cls, where):
    if not isinstance(value, list):
        yield f"{where}: {value!r} is no list"
        return
    for at, each in enumerate(value):
        yield from wrong(each, inner, cls, f"{where}[{at}]")


def _wrong_of_class(value, name, cls, where):
    if name in SCALARS:
        right = SCALARS[name]
        if not isinstance(value, right) or (
            name != "bool" and value in (True, False) and type(value) is bool
        ):
            yield f"{where}: {value!r} is no {name}"
        return
    if name == "Any":
        return
    found = _nested(cls, name)
    if found is None:  # a class of its own module
        yield from differences(value, None, where)
    elif not isinstance(value, dict):
        yield f"{where}: {value!r} is no object"
    else:
        yield from differences(value, found, where)


def _nested(cls, name):
    """A class inside another, or beside it in the class that both are in."""
    parts = cls.__qualname__.split(".")
    module = importlib.import_module(cls.__module__)
    for depth in range(len(parts), 0, -1):
        outer = module
        for part in parts[:depth]:
            outer = getattr(outer, part)
        found = getattr(outer, name, None)
        if inspect.isclass(found) and issubclass(found, stripe.StripeObject):
            return found
    return None
