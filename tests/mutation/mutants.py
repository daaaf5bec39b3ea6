"""What may be wrong in a rule: one changed comparison, operator, constant, function, side or join at a time."""

import ast
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass

_OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Mod: ast.Mult,
}
_SWAPS = (
    *(("greatest", "least"), ("max", "min"), ("isNull", "isNotNull"), ("desc", "asc"), ("lag", "lead")),
    *(("date_sub", "date_add"), ("AGODA", "SUPPLIER"), ("MISSING_AGODA", "MISSING_SUPPLIER"), ("HIGH", "CRITICAL")),
    *(("MEDIUM", "LOW"), ("MATCHED", "MISMATCHED"), ("DUPLICATE_AGODA", "DUPLICATE_SUPPLIER")),
    *(("DELAYED_AGODA", "DELAYED_SUPPLIER"), ("collect_set", "collect_list"), ("leftouter", "inner")),
)
_NAMES = {name: other for pair in _SWAPS for name, other in (pair, pair[::-1])}
_TEXTS = {"left": "inner", "inner": "left", "agoda_": "supplier_", "supplier_": "agoda_"}
#: Calls that are left out, so that only their first argument stays: abs(x) becomes x.
_TRANSPARENT = {"abs", "coalesce", "sort_array", "round"}
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True)
class Mutant:
    """One changed module: its source, and where and what was changed."""

    module: str
    line: int
    change: str
    within: str
    source: str

    @property
    def name(self) -> str:
        """Stable as long as the function around the change is: no line number in it."""
        return f"{self.module}.{self.within}: {self.change}"


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """All mutants of a module in the order of its text; names that would be equal are numbered."""
    tree = ast.parse(source)
    seen: dict[str, int] = {}
    for index, (node, within) in enumerate(_changeable(tree)):
        for replacement in _replacements(node):
            changed = copy.deepcopy(tree)
            target = [found for found, _ in _changeable(changed)][index]
            _put(changed, target, replacement)
            text = f"{_shown(node)} -> {_shown(replacement)}"
            key = f"{within}{text}"
            seen[key] = seen.get(key, 0) + 1
            text += f" #{seen[key]}" if seen[key] > 1 else ""
            yield Mutant(
                module, getattr(node, "lineno", 0), text, within, ast.unparse(ast.fix_missing_locations(changed))
            )


def _changeable(tree: ast.AST, within: str = "module") -> Iterator[tuple[ast.AST, str]]:
    """Every expression that runs, with the function it is in; annotations and docstrings are left alone."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if within == "module" and isinstance(child, ast.Assign) and isinstance(child.value, ast.BinOp):
                continue  # `Value = A | B` is a type
            if not isinstance(child, ast.AST) or _is_docstring(child):
                continue
            inside = child.name if isinstance(child, (ast.FunctionDef, ast.ClassDef)) else within
            yield child, inside
            yield from _changeable(child, inside)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _replacements(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _OPERATORS:
        yield ast.Compare(node.left, [_OPERATORS[type(node.ops[0])]()], node.comparators)  # type: ignore[list-item]
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        yield ast.BinOp(node.left, _OPERATORS[type(node.op)](), node.right)  # type: ignore[arg-type]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
        yield node.operand
    if isinstance(node, ast.Attribute) and node.attr in _NAMES:
        yield ast.Attribute(node.value, _NAMES[node.attr], node.ctx)
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _TRANSPARENT
        and node.args
    ):
        yield node.args[0]
    if isinstance(node, ast.Constant):
        yield from (ast.Constant(value) for value in _other_values(node.value))


def _other_values(value: object) -> Iterator[bool | int | str]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1)
    elif isinstance(value, str) and _NUMBER.fullmatch(value):
        yield value[:-1] + ("2" if value.endswith("1") else "1")
    elif isinstance(value, str) and value in _TEXTS:
        yield _TEXTS[value]


def _put(tree: ast.AST, target: ast.AST, replacement: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is target:
                setattr(parent, name, replacement)
            elif isinstance(value, list):
                value[:] = [replacement if item is target else item for item in value]


def _shown(node: ast.AST) -> str:
    text = ast.unparse(ast.fix_missing_locations(copy.deepcopy(node)))
    return text if len(text) <= 90 else f"{text[:60]}…{text[-28:]}"
