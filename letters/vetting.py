"""What a user's template may say: a short list of what it can do, judged from its syntax tree before it is compiled.

The sandbox of Jinja2 stops escapes; it does not stop `'A' * 10**9` (evaluated while compiling), `center(10**9)`,
loops in loops, or a misspelt name. So everything that is not on the lists below is refused here, with its line:
no calls, no arithmetic, no assignment, no macros or inheritance, no loop but over the catalogue's lists, none inside
another. What remains cannot grow: no filter below returns more than about what it was given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jinja2 import nodes

from letters.variables import LISTS, VARIABLES
from workflow.errors import InvalidInput
from workflow.spelling import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FILTERS: Final = frozenset(
    {"abs", "capitalize", "default", "first", "last", "length", "lower", "title", "trim", "upper"}
)
TESTS: Final = frozenset({"defined", "even", "none", "odd"})
LOOP_FIELDS: Final = frozenset({"first", "index", "index0", "last", "length"})
MAX_SOURCE_BYTES: Final = 64 * 1024
MAX_LOOPS: Final = 10
MAX_DEPTH: Final = 30

_ROOTS: Final = frozenset(name.split(".")[0] for name in VARIABLES) - frozenset(LISTS.values())
_GROUPS: Final = frozenset(name.split(".")[0] for name in VARIABLES if "." in name)
# What an expression is, beside the groups and lists of the catalogue, whose own names are used.
_PLAIN: Final = ""
_LOOP: Final = "loop"
_CATALOGUE: Final = {name: name if name in _GROUPS or name in LISTS else _PLAIN for name in _ROOTS}


class TemplateError(InvalidInput):
    """A text that cannot be used as a template: where, why, and the known name that was probably meant."""

    def __init__(
        self, *, field: str, value: object, reason: str, line: int | None = None, nearest: str | None = None
    ) -> None:
        """Keep the line (counted from 1) and the nearest known name beside the three parts of every refusal."""
        self.line = line
        self.nearest = nearest
        where = "" if line is None else f"line {line}: "
        meant = "" if nearest is None else f"; did you mean {nearest}?"
        super().__init__(field=field, value=value, reason=f"{where}{reason}{meant}")


def vet(tree: nodes.Template, *, field: str) -> None:
    """Raise TemplateError at the first thing in the tree that a user's template may not say."""
    reader = _Reader(field)
    reader.statements(tree.body, _CATALOGUE, 0)


class _Reader:
    """Walks one tree; `names` is what is known where it stands, each with the kind of thing that it is."""

    def __init__(self, field: str) -> None:
        self.field = field
        self.loops = 0

    def statements(self, body: Iterable[nodes.Node], names: Mapping[str, str], depth: int) -> None:
        for node in body:
            self._not_too_deep(node, depth)
            match node:
                case nodes.Output(nodes=parts):
                    for part in parts:
                        self._printed(part, names, depth + 1)
                case nodes.If(test=test, body=then, elif_=others, else_=otherwise):
                    self.kind(test, names, depth + 1)
                    for branch in (then, others, otherwise):
                        self.statements(branch, names, depth + 1)
                case nodes.For():
                    self._loop(node, names, depth)
                case _:
                    raise self._refused(node, f"{type(node).__name__.lower()} is not available in these texts")

    def kind(  # noqa: C901, PLR0911 - one arm for each thing that a text may say
        self, node: nodes.Node, names: Mapping[str, str], depth: int
    ) -> str:
        """Tell what an expression is: a group or list of the catalogue, a loop, or plain (a text or a number)."""
        self._not_too_deep(node, depth)
        match node:
            case nodes.TemplateData() | nodes.Const():
                return _PLAIN
            case nodes.Name(name=name):
                if name in names:
                    return names[name]
                raise self._unknown(node, name, names)
            case nodes.Getattr(node=owner, attr=attribute):
                return self._attribute(node, self.kind(owner, names, depth + 1), owner, attribute)
            case nodes.Getitem(node=owner, arg=place):
                return self._item(node, self.kind(owner, names, depth + 1), place)
            case nodes.Filter():
                return self._filter(node, names, depth)
            case nodes.Test(node=subject, name=name, args=[], kwargs=[], dyn_args=None, dyn_kwargs=None):
                self._listed(node, "test", name, TESTS)
                return self._combined([subject], names, depth)
            case nodes.Compare(expr=left, ops=operands):
                self._combined([left, *(operand.expr for operand in operands)], names, depth)
                return _PLAIN
            case nodes.And(left=left, right=right) | nodes.Or(left=left, right=right):
                return self._combined([left, right], names, depth)
            case nodes.CondExpr(test=test, expr1=then, expr2=otherwise):
                return self._combined([test, then, otherwise or nodes.Const("")], names, depth)
            case nodes.Not(node=operand) | nodes.Neg(node=operand):
                self.kind(operand, names, depth + 1)
                return _PLAIN
            case _:
                raise self._refused(node, f"{type(node).__name__.lower()} is not available in these texts")

    def _printed(self, node: nodes.Node, names: Mapping[str, str], depth: int) -> None:
        kind = self.kind(node, names, depth)
        if kind != _PLAIN:
            raise self._refused(node, f"{kind} is not a text: print one of its fields", nearest=_a_field_of(kind))

    def _loop(self, node: nodes.For, names: Mapping[str, str], depth: int) -> None:
        self.loops += 1
        kind = self.kind(node.iter, names, depth + 1)
        if self.loops > MAX_LOOPS:
            raise self._refused(node, f"more than {MAX_LOOPS} loops")
        if _LOOP in names:
            raise self._refused(node, "a loop inside a loop")
        if kind not in LISTS or not isinstance(node.target, nodes.Name) or node.recursive:
            known = ", ".join(sorted(LISTS))
            raise self._refused(node, f"a loop goes over one of: {known}", nearest="{% for invoice in invoices %}")
        inside = {**names, node.target.name: LISTS[kind], _LOOP: _LOOP}
        if node.test is not None:
            self.kind(node.test, inside, depth + 1)
        self.statements(node.body, inside, depth + 1)
        self.statements(node.else_, names, depth + 1)

    def _attribute(self, node: nodes.Node, kind: str, owner: nodes.Node, attribute: str) -> str:
        written = f"{owner.name if isinstance(owner, nodes.Name) else kind}.{attribute}"
        if kind == _LOOP:
            self._listed(node, "field of loop", attribute, LOOP_FIELDS)
            return _PLAIN
        if kind not in _GROUPS:
            raise self._refused(node, f"{written} does not exist: only {', '.join(sorted(_GROUPS))} have fields")
        if f"{kind}.{attribute}" not in VARIABLES:
            raise self._unknown(node, written, VARIABLES, meant=f"{kind}.{attribute}")
        return _PLAIN

    def _item(self, node: nodes.Node, kind: str, place: nodes.Node) -> str:
        plain_slice = isinstance(place, nodes.Slice) and all(
            part is None or isinstance(part, nodes.Const) for part in (place.start, place.stop, place.step)
        )
        number = isinstance(place, nodes.Const) and type(place.value) is int
        if kind in LISTS and number:
            return LISTS[kind]
        if kind == _PLAIN and (number or plain_slice):
            return _PLAIN
        raise self._refused(node, "brackets take a number, or part of a text such as [:3]")

    def _filter(self, node: nodes.Filter, names: Mapping[str, str], depth: int) -> str:
        self._listed(node, "filter", node.name, FILTERS)
        if node.node is None or node.kwargs or node.dyn_args or node.dyn_kwargs:
            raise self._refused(node, f"the filter {node.name} takes no such arguments")
        for argument in node.args:
            self._printed(argument, names, depth + 1)
        kind = self.kind(node.node, names, depth + 1)
        if kind in LISTS and node.name in {"first", "last"}:
            return LISTS[kind]
        if kind != _PLAIN and not (kind in LISTS and node.name == "length"):
            raise self._refused(node, f"the filter {node.name} takes a text or a number", nearest=_a_field_of(kind))
        return _PLAIN

    def _combined(self, parts: Iterable[nodes.Node], names: Mapping[str, str], depth: int) -> str:
        """Any of the parts may be the outcome, so it counts as the first that is more than plain."""
        kinds = [self.kind(part, names, depth + 1) for part in parts]
        return next((kind for kind in kinds if kind != _PLAIN), _PLAIN)

    def _listed(self, node: nodes.Node, what: str, name: str, known: Iterable[str]) -> None:
        if name not in known:
            raise self._refused(node, f"unknown {what} {name}", nearest=nearest(name, sorted(known)))

    def _not_too_deep(self, node: nodes.Node, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self._refused(node, "nested too deeply")

    def _unknown(self, node: nodes.Node, name: str, known: Iterable[str], *, meant: str | None = None) -> TemplateError:
        # `numbr` alone probably is the end of a documented name: look at the last parts too.
        wanted = meant or name
        candidates = sorted({*known, *VARIABLES})
        by_its_end = (whole for whole in candidates if nearest(wanted, [whole.rpartition(".")[2]]))
        found = nearest(wanted, candidates) or next(by_its_end, None)
        return self._refused(node, f"unknown variable {name}", nearest=found)

    def _refused(self, node: nodes.Node, reason: str, *, nearest: str | None = None) -> TemplateError:
        return TemplateError(field=self.field, value=_shown(node), reason=reason, line=node.lineno, nearest=nearest)


def _a_field_of(kind: str) -> str | None:
    group = LISTS.get(kind, kind)
    return next((name for name in VARIABLES if name.startswith(f"{group}.")), None)


def _shown(node: nodes.Node) -> str:
    """Name a node by the word that its writer will recognise in it."""
    match node:
        case nodes.Name(name=name) | nodes.Filter(name=name) | nodes.Test(name=name):
            return name
        case nodes.Getattr(node=nodes.Name(name=owner), attr=attribute):
            return f"{owner}.{attribute}"
        case nodes.Getattr(attr=attribute):
            return attribute
        case _:
            return type(node).__name__.lower()
