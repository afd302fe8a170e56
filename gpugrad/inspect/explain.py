"""``gg.explain``: the chain rule of a graph in full. Imports the modules beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.messages import is_whole
from gpugrad.engine.node import Leaf, Node
from gpugrad.engine.outputs import OutputsNode
from gpugrad.errors import DTypeError, GradientError
from gpugrad.inspect import text
from gpugrad.inspect.graph import Values, changed_since, checked, derivatives, names_of, reachable
from gpugrad.inspect.latex import aligned, marks
from gpugrad.inspect.paths import SATURATED, Edge, counts_of, edges_of, heads_of, ways
from gpugrad.tensor import Tensor

__all__ = ["Explanation", "Path", "explain"]

EDGES = 1_000_000  # factors of all listed paths together, at most
LEAVES = 20  # leaves that the text lists
VALUES = 40  # forward values that the text lists
FACTORS = 8  # factors at each end of a long path that the text lists
ENDS = 2
WIDTH = 100


class Path(NamedTuple):
    """A path from the explained value to a leaf.

    ``names`` are the values on it, ``factors`` the partial derivatives between them (None
    where one is no number). ``value`` is their product, the contribution to the derivative: a
    float or, for arrays, a Tensor; None where the explained value is an array.
    """

    names: tuple[str, ...]
    factors: tuple[float | complex | None, ...]
    value: Any


@dataclass(repr=False, eq=False)
class Explanation:
    """The chain rule of a graph, made by `gpugrad.explain`; ``str()`` is the text.

    Notebooks show it as mathematics.

    ``values`` and ``derivatives`` are dicts by name, of floats, or of Tensors for arrays;
    ``expressions`` are the formulas of the values. ``paths`` has at most ``max_paths`` paths for
    each leaf, ``counts`` their numbers (counting stops at 10**15).
    """

    title: str
    values: dict[str, Any]
    expressions: dict[str, str]
    derivatives: dict[str, Any]
    paths: dict[str, list[Path]]
    counts: dict[str, int]
    _lines: list[str]
    _latex: str | None

    def __str__(self) -> str:
        return "\n".join(self._lines)

    __repr__ = __str__

    def _repr_latex_(self) -> str | None:
        return self._latex


def explain(t: Tensor, *, wrt: Any = None, max_paths: int = 20) -> Explanation:
    """The chain rule for the graph that a tensor was computed by, in symbols and numbers.

    The text lists the values in the order in which they were computed, then for each leaf the
    paths from ``t`` to it, each a product of partial derivatives, and their sum. ``wrt`` selects
    tensors of the graph in place of the leaves: one or a list, tensors or names. Paths beyond
    ``max_paths`` are summed. Arrays are shown by shape and norm. Where values between the leaves
    and ``t`` have names, unnamed steps that are used once become part of the named value.

    The graph is not freed, no ``grad`` changes and no hook is called. GradientError where ``t``
    has no graph, where the graph was freed, or where a tensor of ``wrt`` is no part of it.

    >>> import gpugrad as gg
    >>> x = gg.tensor(2.0, requires_grad=True, name="x")
    >>> s = 3 * x
    >>> s.name = "s"
    >>> y = s**2
    >>> y.name = "y"
    >>> print(gg.explain(y))
    x = 2
    s = 3·x = 6
    y = s² = 36
    <BLANKLINE>
    ∂y/∂x = ∂y/∂s · ∂s/∂x = 12 · 3 = 36
    """
    checked("explain", t)
    if not is_whole(max_paths, 1):
        raise ValueError(f"explain: max_paths must be a whole number from 1, got {max_paths!r}")
    if t._node is None:
        raise GradientError(
            "explain: this tensor requires no gradient and was not computed from one that does. "
            "Make a leaf with requires_grad=True, and compute outside no_grad"
        )
    return _Explainer(t, wrt, max_paths).explanation()


class _Explainer:
    """The graph to explain: the values to show, and the edges between them."""

    def __init__(self, t: Tensor, wrt: Any, max_paths: int) -> None:
        self.t = t
        self.root = root = t._node
        self.max_paths = max_paths
        self.everything = reachable([root])
        self.nodes = [node for node in self.everything if not isinstance(node, OutputsNode)]
        for node in self.everything:
            if isinstance(node, Node) and node.values is None:
                raise GradientError(
                    f"explain: the graph was freed by an earlier backward pass (at "
                    f"{node.op.shown}). Pass retain_graph=True to it, or explain first"
                )
        if changed_since(t, self.everything):
            raise GradientError(
                "explain: a leaf was changed in place since this tensor was computed, so the "
                "values no longer belong together. Compute the tensor again"
            )
        asked = None if wrt is None else self._requested(wrt)
        heads = heads_of(self.nodes, root, asked or [])
        self.shown = [node for node in self.nodes if heads[node] is node]
        self.names: dict[Any, str] = names_of(self.shown)
        self.edges = edges_of(self.shown, heads)
        self.folded = [node for node in self.nodes if heads[node] is not node]
        self.inner = self._inner()
        leaves = [node for node in self.shown if isinstance(node, Leaf)]
        self.targets = leaves if asked is None else asked
        self.listed = self.targets[:LEAVES] if asked is None else self.targets
        self.values = Values(self.everything, t)
        self._made: dict[Any, Any] = {}

    def _requested(self, wrt: Any) -> list[Any]:
        """The nodes of ``wrt``, in its order."""
        requested: Sequence[Any] = wrt if isinstance(wrt, list | tuple) else [wrt]
        reachable_nodes = dict.fromkeys(self.nodes)
        by_name = {name: node for node, name in names_of(self.nodes).items()}
        nodes = []
        for one in requested:
            if isinstance(one, str):
                if one not in by_name:
                    raise GradientError(
                        f"explain: no value of this graph is named {one!r}. Its names are "
                        f"{text.short(', '.join(by_name), 300)}"
                    )
                nodes.append(by_name[one])
            elif isinstance(one, Tensor):
                if one._node is None or one._node not in reachable_nodes:
                    raise GradientError(
                        f"explain: the tensor {one.name or ''!r} of wrt is no part of this graph: "
                        "it requires no gradient, or the result was not computed from it"
                    )
                nodes.append(one._node)
            else:
                raise DTypeError(
                    f"explain: expected tensors or names in wrt, got {type(one).__name__}"
                )
        return list(dict.fromkeys(nodes))

    def _inner(self) -> dict[Any, tuple[str, int]]:
        """The formulas that are part of another value's."""
        inner: dict[Any, tuple[str, int]] = {}
        for node in self.folded:
            inner[node] = text.expression(node, self.names, inner)
        return inner

    # Paths.

    def _ones(self, node: Any) -> Any:
        """A gradient of one for a value of one element."""
        like = self.values[node]
        if like is None:  # its leaf is gone: take the device of the result
            like = self.t.data
        key = (type(like), tuple(node.shape), node.dtype)
        if key not in self._made:
            xp = namespace_of(like)
            self._made[key] = xp.full_like(like, 1, shape=node.shape, dtype=node.dtype)
        return self._made[key]

    def _path(self, edges: tuple[Edge, ...]) -> Path:
        names = (self.names[self.root], *(self.names[edge.parent] for edge in edges))
        factors = tuple(edge.number(self._ones) for edge in edges)
        return Path(names, factors, self._product(edges, factors))

    def _product(self, edges: tuple[Edge, ...], factors: tuple[float | complex | None, ...]) -> Any:
        """The contribution of a path to the derivative, computed from the root."""
        if self.t.size != 1:
            return None
        # The derivative by a complex number is no product: it may conjugate, or drop a part.
        if all(isinstance(factor, float) for factor in factors):
            product: Any = 1.0
            for edge, factor in zip(edges, factors, strict=True):
                product *= factor
                if factor == 0 and edge.chooses:  # zero by choice, whatever the next factors are
                    return 0.0
            return product
        g = self._ones(self.root)
        for edge in edges:
            g = edge.pull(g)
        return self._plain(g)

    @staticmethod
    def _plain(raw: Any) -> Any:
        """A number for one element, else a Tensor that is independent of the graph."""
        if raw is None:
            return None
        raw = text.unbatched(raw)
        return text.one(raw) if raw.size == 1 else Tensor(raw.copy())

    # The text.

    def explanation(self) -> Explanation:
        totals: dict[Any, Any] = dict.fromkeys(self.targets)
        if self.t.size == 1:
            totals.update(derivatives(self.t, self.targets))
        results = {node: self._plain(totals[node]) for node in self.targets}
        told = self._told()
        values = {node: self._plain(self.values[node]) for node in told}
        self._walk()
        names = self.names
        expressions = self._expressions(told)
        paths = {node: [self._path(edges) for edges in walks] for node, walks in self.walks.items()}
        lines = self._lines(expressions, values, paths, results)
        latex = None
        if (found := marks(self.shown)) is not None:  # the same with marks in place of names
            self.names = found
            self.inner = self._inner()
            marked = self._lines(self._expressions(told), values, paths, results)
            latex = aligned(marked, {self.names[node]: name for node, name in names.items()})
        return Explanation(
            names[self.root],
            {names[node]: value for node, value in values.items()},
            {names[node]: expression for node, expression in expressions.items()},
            {names[node]: result for node, result in results.items()},
            {names[node]: listed for node, listed in paths.items()},
            {names[node]: count for node, count in self.counts.items()},
            lines,
            latex,
        )

    def _walk(self) -> None:
        """Find the paths to each listed value, and count those that are not listed."""
        self.walks: dict[Any, list[tuple[Edge, ...]]] = {}
        self.counts: dict[Any, int] = {}
        budget = EDGES
        for node in self.listed:
            reached = counts_of(self.shown, self.edges, node)
            self.counts[node] = reached.get(self.root, 0)
            self.walks[node] = listed = []
            for walk in ways(self.root, self.edges, node, reached):
                listed.append(walk)
                budget -= len(walk)
                if len(listed) == self.max_paths or budget < 0:
                    break

    def _expressions(self, told: Sequence[Any]) -> dict[Any, str]:
        return {
            node: text.expression(node, self.names, self.inner)[0]
            for node in told
            if isinstance(node, Node)
        }

    def _lines(
        self,
        expressions: dict[Any, str],
        values: dict[Any, Any],
        paths: dict[Any, list[Path]],
        results: dict[Any, Any],
    ) -> list[str]:
        """The whole text, with the names of ``self.names``."""
        lines = self._forward_lines(expressions, values)
        apart = False
        for node in self.listed:
            entry = self._derivative_lines(node, paths[node], results[node])
            if node is self.listed[0] or apart or len(entry) > 1:
                lines.append("")
            apart = len(entry) > 1
            lines += entry
        if len(self.listed) < len(self.targets):
            lines += [
                "",
                f"… and {len(self.targets) - len(self.listed):,} more leaves: ask for "
                "some with wrt=, .derivatives has the numbers of all",
            ]
        if any(RAISED in line for line in lines):
            lines += [
                "",
                "⁽¹⁾ ⁽²⁾ …: by the first, second … place where it stands in that "
                "value's own expression",
            ]
        return lines

    def _told(self) -> list[Any]:
        """The shown values, or the first and last ones where there are too many."""
        if len(self.shown) <= VALUES:
            return self.shown
        return [*self.shown[: VALUES // 2], *self.shown[-(VALUES // 2) :]]

    def _forward_lines(self, expressions: dict[Any, str], values: dict[Any, Any]) -> list[str]:
        lines = []
        for node in self._told():
            parts = [self.names[node], *([expressions[node]] if node in expressions else [])]
            value = values[node]
            if value is None:
                parts.append(text.shape_text(node))
            else:
                parts.append(_value(value) + text.elements_text(self.values[node]))
            lines.append(" = ".join(parts))
        if len(self.shown) > VALUES:
            lines.insert(VALUES // 2, f"… {len(self.shown) - VALUES:,} more values …")
        return lines

    def _derivative_lines(self, target: Any, paths: list[Path], total: Any) -> list[str]:
        """``∂L/∂a = symbols = numbers = value``, or a line for each of several paths."""
        walks, count = self.walks[target], self.counts[target]
        left = f"∂{self.names[self.root]}/∂{self.names[target]}"
        result = self._jacobian(self.root, target) if total is None else _value(total)
        several = count > 1
        symbols = [self._symbols(edges, several) for edges in walks]
        numbers = [self._numbers(edges) for edges in walks]
        if not several:
            # A single factor is the derivative itself.
            middle = [symbols[0], numbers[0]] if len(walks[0]) > 1 else []
            if len(walks[0]) == 1 and isinstance(total, Tensor):
                middle = numbers
            return _chain([left, *middle, result])
        if count <= 3 and count == len(walks):
            line = " = ".join([left, _sum(symbols), _sum(numbers), result])
            if len(line) <= WIDTH:
                return [line]
        lines = [f"{left} = the sum over {_many(count)} paths:"]
        for symbol, value, path in zip(symbols, numbers, paths):
            parts = [symbol, value]
            if path.value is not None and _value(path.value) != value:
                parts.append(_value(path.value))
            first, *rest = _chain(parts)
            lines += [
                f"    {'+' if len(lines) > 1 else ' '} {first}",
                *(f"      {x}" for x in rest),
            ]
        if count > len(walks):
            more = f"{count - len(walks):,}" if count < SATURATED else "many"
            together = ""
            if total is not None:
                rest = total
                for path in paths:
                    rest = rest - path.value
                together = f", together {_value(rest)}"
            lines.append(f"    + … and {more} more paths{together}")
        return [*lines, f"    = {result}"]

    def _symbols(self, edges: tuple[Edge, ...], several: bool) -> str:
        factors = []
        for edge in _middle(edges):
            if edge is None:
                factors.append(f"… ({len(edges) - 2 * ENDS:,} more factors) …")
                continue
            # One of several parallel edges has only a part of the derivative: it is numbered.
            index = edge.index or int(several and len(edges) == 1)
            raised = text.superscript(f"({index})") if index else ""
            factors.append(f"∂{self.names[edge.child]}/∂{self.names[edge.parent]}{raised}")
        return " · ".join(factors)

    def _numbers(self, edges: tuple[Edge, ...]) -> str:
        factors = []
        for edge in _middle(edges):
            if edge is None:
                factors.append("…")
                continue
            factor = edge.number(self._ones)
            if factor is None:
                factors.append(self._jacobian(edge.child, edge.parent))
            else:
                shown = text.number(factor)
                apart = "j" in shown or (factors and shown[0] == "-")
                factors.append(f"({shown})" if apart else shown)
        return " · ".join(factors)

    @staticmethod
    def _jacobian(child: Any, parent: Any) -> str:
        return f"Jacobian {tuple(parent.shape)}→{tuple(child.shape)}"


RAISED = text.superscript("(")


def _middle(edges: tuple[Edge, ...]) -> list[Edge | None]:
    """The edges, with None for those in the middle where there are too many."""
    if len(edges) <= FACTORS:
        return list(edges)
    return [*edges[:ENDS], None, *edges[-ENDS:]]


def _sum(terms: list[str]) -> str:
    """Terms joined by a plus, products in parentheses."""
    return " + ".join(
        f"({term})" if "·" in term or (i and term.startswith("-")) else term
        for i, term in enumerate(terms)
    )


def _chain(parts: list[str]) -> list[str]:
    """Parts joined by equals signs, each on its own line where one line would be too long."""
    line = " = ".join(parts)
    if len(line) <= WIDTH:
        return [line]
    head = 2 if len(parts[0]) + len(parts[1]) < WIDTH - 2 else 1
    return [" = ".join(parts[:head]), *(f"    = {part}" for part in parts[head:])]


def _many(count: int) -> str:
    return f"{count:,}" if count < SATURATED else "more than 10¹⁵"


def _value(value: Any) -> str:
    """A number, the elements of a small array, the shape and norm of a larger one."""
    if isinstance(value, float | complex):
        return text.number(value)
    return text.array_text(value.data) or (
        f"{text.shape_text(value)} of norm {text.number(text.norm(value.data))}"
    )
