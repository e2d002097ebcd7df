"""Mutants of the code that computes verdicts: changed comparisons, omitted conditions and checks.

A mutant is one change in the syntax tree of a module, named by the function, the original text and its replacement. So
its name stays the same when the code around it moves.
"""

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPPOSITES = {"min": "max", "max": "min", "any": "all", "all": "any"}
_WORDS = {
    "held": "missed",
    "ok": "failed",
    "clean": "violated",
    "passed": "missed",
    **dict.fromkeys(("missed", "violated", "unsettled", "not-measured", "not-checked"), "held"),
    **dict.fromkeys(("inconclusive", "worse", "not-rolled-back"), "passed"),
}
"""Good results are replaced by bad ones, and vice versa."""
_BY_NAME = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
}

Change = Callable[[ast.AST], ast.AST]


class Mutant(msgspec.Struct, frozen=True):
    """A mutation of a module; `place` is the number of the node in a walk of its tree, `choice` that of the change."""

    module: str
    name: str
    line: int
    place: int
    choice: int


def mutants(module: str, path: Path, functions: Sequence[str] = ()) -> list[Mutant]:
    """Return all mutants of a module, or of some of its functions and classes."""
    tree = ast.parse(path.read_text())
    times: Counter[str] = Counter()
    found = []
    for place, (node, function) in enumerate(_walk(tree)):
        if functions and function.partition(".")[0] not in functions and function not in functions:
            continue
        for choice, (name, _) in enumerate(_changes(node)):
            times[called := f"{function}: {name}"] += 1
            numbered = called if times[called] == 1 else f"{called} (the {times[called]}th)"
            found.append(Mutant(module, numbered, getattr(node, "lineno", 0), place, choice))
    return found


def mutated(source: str, mutant: Mutant) -> ast.Module:
    """Return the tree of a module with this mutation."""
    tree = ast.parse(source)
    for place, (node, _) in enumerate(_walk(tree)):
        if place == mutant.place:
            _, change = _changes(node)[mutant.choice]
            _Replaced(node, change(copy.deepcopy(node))).visit(tree)
            return ast.fix_missing_locations(tree)
    raise LookupError(mutant.name)


class _Replaced(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new = old, ast.copy_location(new, old)

    def visit(self, node: ast.AST) -> ast.AST:
        return self._new if node is self._old else self.generic_visit(node)


def _walk(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield every node whose change has an effect when the module runs, with its function."""

    def below(node: ast.AST, inside: str) -> Iterator[tuple[ast.AST, str]]:
        for child in ast.iter_child_nodes(node):
            if _is_silent(node, child):
                continue
            name = inside
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{inside}.{child.name}".removeprefix(".")
            yield child, name
            yield from below(child, name)

    yield from below(tree, "")


def _is_silent(parent: ast.AST, child: ast.AST) -> bool:
    """Return True for types, docstrings and struct options, which have no effect."""
    is_option = isinstance(child, ast.keyword) and (isinstance(parent, ast.ClassDef) or child.arg == "strict")
    is_type = child is getattr(parent, "annotation", None) or child is getattr(parent, "returns", None)
    is_literal = isinstance(child, ast.Subscript) and ast.unparse(child.value) in ("Literal", "Annotated", "TypeAlias")
    is_text = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
    return is_option or is_type or is_literal or is_text


def _changes(node: ast.AST) -> list[tuple[str, Change]]:  # noqa: C901, PLR0911, PLR0912 - one case for each kind of mistake
    """Return the possible changes of a node: their names, and the changed node."""
    match node:
        case ast.Compare():
            return [_compared(node, number) for number in range(len(node.ops))]
        case ast.BoolOp():
            return [_joined(node), *(_left_out(node, number) for number in range(len(node.values)))]
        case ast.UnaryOp(op=ast.Not()):
            return [(f"{_said(node)} -> {_said(node.operand)}", lambda wrong: wrong.operand)]
        case ast.Call(func=ast.Name(id=name)) if name in _OPPOSITES:
            return [(f"{_said(node)} -> {_OPPOSITES[name]}", _called(_OPPOSITES[name]))]
        case ast.If() | ast.IfExp() | ast.While():
            return [
                (f"{_said(node.test)} -> {value}", _with(test=ast.Constant(value=value)))
                for value in ((False,) if isinstance(node, ast.If | ast.While) else (False, True))
            ]
        case ast.comprehension() if node.ifs:
            return [(f"if {_said(node.ifs[0])} left out", _with(ifs=[]))]
        case ast.match_case(pattern=ast.MatchAs(pattern=None)):
            return []
        case ast.match_case():
            return [(f"case {_said(node.pattern)} left out", _with(guard=ast.Constant(value=False)))]
        case ast.Expr(
            value=ast.Call(func=ast.Attribute(value=ast.Attribute(attr="_log")))
            | ast.Call(func=ast.Attribute(attr="_show_progress"))
        ):
            return []  # only reports the progress of a run
        case ast.Expr(value=ast.Call()) | ast.Expr(value=ast.YieldFrom()) | ast.AugAssign():
            return [(f"{_said(node)} left out", lambda _: ast.Pass())]
        case ast.Expr(value=ast.Yield()):
            return [(f"{_said(node)} left out", lambda _: ast.Pass())]
        case ast.Starred(value=value) if not isinstance(value, ast.Name):
            return [(f"{_said(node)} left out", _with(value=ast.Tuple(elts=[], ctx=ast.Load())))]
        case ast.Raise():
            return [(f"{_said(node)} left out", lambda _: ast.Pass())]
        case ast.Constant(value=str(word)) if word in _WORDS:
            return [(f"{word!r} -> {_WORDS[word]!r}", _with(value=_WORDS[word]))]
        case ast.Constant(value=bool(value)):
            return [(f"{value} -> {not value}", _with(value=not value))]
        case ast.Constant(value=int(value)):
            return [(f"{value} -> {value + 1}", _with(value=value + 1))]
        case ast.BinOp(op=ast.Add()):
            return [(f"{_said(node)} -> -", _with(op=ast.Sub()))]
        case ast.BinOp(op=ast.Sub()):
            return [(f"{_said(node)} -> +", _with(op=ast.Add()))]
        case _:
            return []


def _compared(node: ast.Compare, number: int) -> tuple[str, Change]:
    other = _COMPARISONS[type(node.ops[number])]
    ops = [other() if place == number else op for place, op in enumerate(node.ops)]
    where = f" (the {number + 1}th)" if len(node.ops) > 1 else ""
    return f"{_said(node)} -> {_BY_NAME[other]}{where}", _with(ops=ops)


def _joined(node: ast.BoolOp) -> tuple[str, Change]:
    other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    return f"{_said(node)} -> {'or' if isinstance(other, ast.Or) else 'and'}", _with(op=other)


def _left_out(node: ast.BoolOp, number: int) -> tuple[str, Change]:
    """Omit one of several conditions."""
    rest = [copy.deepcopy(value) for place, value in enumerate(node.values) if place != number]
    wrong = rest[0] if len(rest) == 1 else ast.BoolOp(op=node.op, values=rest)
    return f"{_said(node)}: {_said(node.values[number])} left out", lambda _: wrong


def _called(name: str) -> Change:
    return _with(func=ast.Name(id=name, ctx=ast.Load()))


def _with(**fields: object) -> Change:
    def change(node: ast.AST) -> ast.AST:
        for name, value in fields.items():
            setattr(node, name, value)
        return node

    return change


def _said(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())
