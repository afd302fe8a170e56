"""The rules of ops as mathematics: their own source, without ``xp.``. Imports engine and ops."""

import ast
import dis
import functools
import importlib
import inspect
import types
from typing import Any

from gpugrad.backend.namespace import FORMULAS
from gpugrad.engine.op import TABLE, Op, taken
from gpugrad.ops.elementwise import zero

__all__ = ["formula", "gradient", "is_of_a_mask", "named_part", "rule_text"]

# Instructions of a function that belong to no part of its body.
AROUND = ("RESUME", "MAKE_CELL", "COPY_FREE_VARS", "RETURN_VALUE")


class Mathematics(ast.NodeTransformer):
    """A rule's source as a formula: without ``xp``, and with the op's names of its arrays."""

    def __init__(self, renamed: dict[str, str]) -> None:
        self.renamed = renamed

    def visit_Call(self, node: ast.Call) -> ast.AST:
        node.args = [a for a in node.args if not (isinstance(a, ast.Name) and a.id == "xp")]
        self.generic_visit(node)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        plain = isinstance(node.value, ast.Name) and node.value.id == "xp"
        return ast.Name(node.attr) if plain else node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self.renamed.get(node.id, node.id))


def _of_namespace(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node).startswith("xp.")


@functools.cache
def tree(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(importlib.import_module(module)))


def definition(function: types.FunctionType) -> ast.Lambda | ast.FunctionDef:
    """The source of a function; of several lambdas in a line, the right one."""
    code = function.__code__
    steps = [s for s in dis.get_instructions(code) if s.opname not in AROUND]
    positions = [s.positions for s in steps if s.positions and None not in s.positions]
    nodes = [
        node
        for node in ast.walk(tree(function.__module__))
        if isinstance(node, ast.Lambda | ast.FunctionDef)
        and node.lineno == code.co_firstlineno
        and (isinstance(node, ast.FunctionDef) or all(_within(node.body, p) for p in positions))
    ]
    if len(nodes) != 1:
        raise LookupError(f"{function.__module__}: found {len(nodes)} times {function}")
    return nodes[0]


def _within(node: ast.expr, position: tuple[Any, ...]) -> bool:
    line, end_line, column, end_column = position
    starts = (node.lineno, node.col_offset) <= (line, column)
    return starts and (end_line, end_column) <= (node.end_lineno, node.end_col_offset)


def formula(op: Op, rule: Any, first: int) -> str:
    """A rule as mathematics: its expression, or its name where it has several statements.

    ``first`` is the number of its parameters before the arrays.
    """
    if rule is zero:
        return "0"
    if is_of_a_mask(rule):
        mask, _, below = formula(op, rule.mask, first - 1).rpartition("`")
        return f"`where({mask.strip('`')}, g, 0)`{below}"
    node = definition(rule)
    if isinstance(node, ast.FunctionDef):
        return f"`{node.name}`, below"
    named = _only_part(node)
    if named is not None:
        return formula(op, named, named.__code__.co_argcount)
    names = [a.arg for a in (*node.args.posonlyargs, *node.args.args)][first:]
    renamed = {}
    if not {"g", "y"} & {*op.arrays} and not op.variadic:
        renamed = dict(zip(names, op.arrays, strict=False))
    return f"`{ast.unparse(Mathematics(renamed).visit(_copy(node.body)))}`"


def _only_part(node: ast.Lambda) -> types.FunctionType | None:
    """The part that a rule consists of, named so that it can have a kernel; None for others."""
    if isinstance(node.body, ast.Call) and _of_namespace(node.body.func):
        return named_part(ast.unparse(node.body.func).removeprefix("xp."))
    return None


def is_of_a_mask(rule: Any) -> bool:
    """Whether a rule was made by `gpugrad.engine.op.taken` from a mask."""
    return rule.__module__ == taken.__module__


def named_part(name: str) -> types.FunctionType | None:
    """The part of a rule that has a name in every namespace and is not an op."""
    function = None if name in TABLE else FORMULAS.get(name)
    return function if isinstance(function, types.FunctionType) else None


def _copy(node: ast.expr) -> ast.expr:
    return ast.parse(ast.unparse(node), mode="eval").body


def gradient(op: Op) -> str:
    """The derivatives of an op, array by array."""
    if op.joint is not None:
        return formula(op, op.joint, 4)
    if op.vjps is None:
        return "—"
    rules = dict(zip(op.arrays, op.vjps, strict=False))
    by_array = [f"{n}: {formula(op, rule, 3)}" for n, rule in rules.items() if rule is not None]
    return by_array[0].partition(": ")[2] if len(op.arrays) == 1 else "; ".join(by_array)


@functools.cache
def rule_text(op: Op) -> str:
    """The derivatives of an op, those of several statements with their source."""
    table = TABLE.get(op.name)
    if table is not None and op is table.conjugated:
        return f"the conjugate of this rule for the conjugate of g:\n{rule_text(table)}"
    try:
        lines = [gradient(op).replace("`", "").replace(", below", "")]
        for rule in dict.fromkeys((*(op.vjps or ()), op.joint)):
            if not isinstance(rule, types.FunctionType) or rule is zero or is_of_a_mask(rule):
                continue
            node = definition(rule)
            if isinstance(node, ast.Lambda) and (named := _only_part(node)) is not None:
                node = definition(named)
            if isinstance(node, ast.FunctionDef):
                lines += ["", ast.unparse(Mathematics({}).visit(_plain(node)))]
        return "\n".join(lines)
    except (LookupError, OSError, TypeError, ImportError, SyntaxError):
        return "a function whose source is not at hand"


def _plain(node: ast.FunctionDef) -> ast.FunctionDef:
    """A function without its docstring, its annotations and its decorators."""
    copy = ast.parse(ast.unparse(node)).body[0]
    assert isinstance(copy, ast.FunctionDef)
    if ast.get_docstring(copy) is not None and copy.body[1:]:
        del copy.body[0]
    copy.returns, copy.decorator_list = None, []
    arguments = copy.args
    arguments.posonlyargs = [a for a in arguments.posonlyargs if a.arg != "xp"]
    arguments.args = [a for a in arguments.args if a.arg != "xp"]
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        argument.annotation = None
    for other in (arguments.vararg, arguments.kwarg):
        if other is not None:
            other.annotation = None
    return copy
