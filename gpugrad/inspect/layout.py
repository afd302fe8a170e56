"""A layered layout of a directed acyclic graph, after Sugiyama, Tagawa and Toda (1981).

Imports nothing. Every box gets a layer after those of its predecessors. Barycentres order the boxes
of a layer, for few crossings; the squared lengths of edges give their places in it. An edge crosses
a layer between its boxes, straight, and bends between layers only, so none runs through a box.

It is written here since no package on PyPI fits. The licence of grandalf is GPL or EPL, its layouts
last changed in 2020 and its routes lead through boxes; fast-sugiyama is a binary for few platforms
and knows no sizes of boxes. gpugrad without extras needs NumPy alone.
"""

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

__all__ = ["Layout", "layered"]

GAP, LANE, COLUMN = 14.0, 8.0, 34.0  # between boxes, beside an edge, between layers
SWEEPS = 6

Point = tuple[float, float]


class Layout(NamedTuple):
    """Centres of boxes; for each edge, by its number, the points of its bends; width and height."""

    centres: dict[Hashable, Point]
    routes: list[list[Point]]
    size: Point


def layered(sizes: Mapping[Hashable, Point], edges: Sequence[tuple[Hashable, Hashable]]) -> Layout:
    """The layout, from left to right, of boxes by their sizes (width, height).

    ``sizes`` has predecessors before successors. The points of an edge are pairs, one where it
    enters a layer and one where it leaves it, from its first box to its last one.
    """
    names = list(sizes)
    number = {name: i for i, name in enumerate(names)}
    ends = [(number[a], number[b]) for a, b in edges]
    layer_of = _layers(len(names), ends)
    widths = [size[0] for size in sizes.values()]
    heights = [size[1] for size in sizes.values()]
    chains: dict[tuple[int, int], list[int]] = {}
    links: list[tuple[int, int]] = []  # edges between neighbouring layers
    for a, b in ends:
        if (a, b) in chains:
            continue
        chain = [a]
        for layer in range(layer_of[a] + 1, layer_of[b]):  # a place in each layer that it crosses
            chain.append(len(layer_of))
            layer_of.append(layer)
            widths.append(0.0)
            heights.append(0.0)
        chains[a, b] = [*chain, b]
        links += itertools.pairwise(chains[a, b])
    layers: list[list[int]] = [[] for _ in range(max(layer_of, default=-1) + 1)]
    for box, layer in enumerate(layer_of):
        layers[layer].append(box)
    before: list[list[int]] = [[] for _ in layer_of]
    after: list[list[int]] = [[] for _ in layer_of]
    for a, b in links:
        after[a].append(b)
        before[b].append(a)
    layers = _ordered(layers, before, after)
    y = _places(layers, before, after, heights, len(names))
    left, right, at = [], [], 0.0
    for boxes in layers:
        width = max(widths[box] for box in boxes)
        left.append(at)
        right.append(at + width)
        at += width + COLUMN
    middle = [(a + b) / 2 for a, b in zip(left, right)]
    centres = {name: (middle[layer_of[i]], y[i]) for name, i in number.items()}
    routes = []
    for pair in ends:
        a, *through, b = chains[pair]
        points = [(middle[layer_of[a]] + widths[a] / 2, y[a]), (right[layer_of[a]], y[a])]
        for box in through:
            points += [(left[layer_of[box]], y[box]), (right[layer_of[box]], y[box])]
        points += [(left[layer_of[b]], y[b]), (middle[layer_of[b]] - widths[b] / 2, y[b])]
        routes.append(points)
    height = max((y[i] + heights[i] / 2 for i in range(len(y))), default=0.0)
    return Layout(centres, routes, (max(0.0, at - COLUMN), height))


def _layers(count: int, ends: Sequence[tuple[int, int]]) -> list[int]:
    """The length of the longest way to each box; sources are one layer before a successor."""
    after: list[list[int]] = [[] for _ in range(count)]
    has_predecessor = [False] * count
    for a, b in ends:
        after[a].append(b)
        has_predecessor[b] = True
    layer = [0] * count
    for a in range(count):
        for b in after[a]:
            layer[b] = max(layer[b], layer[a] + 1)
    for a in range(count):
        if not has_predecessor[a] and after[a]:
            layer[a] = min(layer[b] for b in after[a]) - 1
    return layer


def _ordered(
    layers: list[list[int]], before: list[list[int]], after: list[list[int]]
) -> list[list[int]]:
    """The layers, each in an order that leaves few crossings; the best of some sweeps."""
    position = [0.0] * len(before)

    def settle(layer: list[int]) -> None:
        for place, box in enumerate(layer):
            position[box] = place

    def sort(layer: list[int], neighbours: list[list[int]]) -> None:
        def barycentre(box: int) -> float:
            near = neighbours[box]
            return sum(position[other] for other in near) / len(near) if near else position[box]

        layer.sort(key=barycentre)
        settle(layer)

    for layer in layers:
        settle(layer)
    best, fewest = [list(layer) for layer in layers], _crossings(layers, after, position)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        if sweep % 2:
            for layer in layers[1:]:
                sort(layer, before)
        else:
            for layer in layers[-2::-1]:
                sort(layer, after)
        found = _crossings(layers, after, position)
        if found < fewest:
            best, fewest = [list(layer) for layer in layers], found
    return best


def _crossings(layers: list[list[int]], after: list[list[int]], position: list[float]) -> int:
    """The number of pairs of edges that cross, by counting inversions in a Fenwick tree."""
    total = 0
    for layer, following in itertools.pairwise(layers):
        tree = [0] * (len(following) + 1)
        seen = 0
        for box in layer:
            ends = sorted(int(position[other]) for other in after[box])
            for end in ends:
                i, smaller = end + 1, 0
                while i:
                    smaller += tree[i]
                    i -= i & -i
                total += seen - smaller
            for end in ends:
                i = end + 1
                while i < len(tree):
                    tree[i] += 1
                    i += i & -i
            seen += len(ends)
    return total


def _places(
    layers: list[list[int]], before: list[list[int]], after: list[list[int]],
    heights: list[float], real: int,
) -> list[float]:  # fmt: skip
    """The centre of each box across its layer: near its neighbours', with the gaps kept."""
    y = [0.0] * len(before)
    offsets = []  # how far each box is from the first of its layer at least
    for layer in layers:
        at, row = 0.0, [0.0]
        for above, below in itertools.pairwise(layer):
            gap = GAP if above < real and below < real else LANE
            at += (heights[above] + heights[below]) / 2 + gap
            row.append(at)
        offsets.append(row)
        for box, offset in zip(layer, row):
            y[box] = offset - at / 2
    for sweep in range(2 * SWEEPS + 1):
        order = range(len(layers)) if sweep % 2 == 0 else range(len(layers) - 1, -1, -1)
        for index in order:
            layer = layers[index]
            wanted, weights = [], []
            for box in layer:
                total = weight = 0.0
                for other in before[box] + after[box]:
                    straight = 8.0 if box >= real and other >= real else 1.0
                    total += straight * y[other]
                    weight += straight
                wanted.append(total / weight if weight else y[box])
                weights.append(weight or 0.1)
            places = _separated(wanted, weights, offsets[index])
            for box, place in zip(layer, places):
                y[box] = place
    top = min((y[i] - heights[i] / 2 for i in range(len(y))), default=0.0)
    return [one - top for one in y]


def _separated(wanted: list[float], weights: list[float], offsets: list[float]) -> list[float]:
    """The places nearest to the wanted ones, of least squares, that are ``offsets`` apart.

    Without the offsets they are to be ascending: isotonic regression, by pooling neighbours.
    """
    blocks: list[list[float]] = []  # the mean, the weight and the number of the places pooled
    for place, weight, offset in zip(wanted, weights, offsets):
        mean, count = place - offset, 1.0
        while blocks and blocks[-1][0] > mean:
            other, more, size = blocks.pop()
            mean = (mean * weight + other * more) / (weight + more)
            weight, count = weight + more, count + size
        blocks.append([mean, weight, count])
    means = [mean for mean, _, count in blocks for _ in range(int(count))]
    return [mean + offset for mean, offset in zip(means, offsets)]
