"""The tree that `print(model.levels())` shows: the first thing that an analyst reads of a model."""

import math
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hierjax.level_graph import LevelGraph
    from hierjax.relations import Spread

WIDTH = 88
Place = tuple[str, ...]  # levels that the axes of a site run along


def draw_tree(graph: "LevelGraph") -> str:
    """Draw the levels from the population down to the rows, then what the tree cannot show."""
    lines = ["population"]
    roots = [node for node in graph.parents if len(graph.parents[node]) != 1]
    roots.sort(key=lambda node: has_rows_only(graph, node))
    lines += _block(graph, (), roots)
    remarks = notes(graph)
    return "\n".join(lines + ([""] if remarks else []) + remarks)


def has_rows_only(graph: "LevelGraph", node: Place) -> bool:
    """Whether a place is a set of rows: it has no effects and nothing lies in it."""
    names = [name for name, place in graph.places.items() if place == node]
    latent = any(graph.sites[name].kind == "latent" for name in names)
    if latent or any(graph.levels[level].indexes for level in node):
        return False
    return not any(node in parents for parents in graph.parents.values())


def _block(graph: "LevelGraph", node: Place, children: list[Place]) -> list[str]:
    """Lines below the heading of `node`: its sites, then its children."""
    bar = "│  " if children else "   "
    lines = [bar + line for line in site_lines(graph, node)]
    for child in children:
        last = child is children[-1]
        below = [each for each in graph.parents if graph.parents[each] == (child,)]
        below.sort(key=lambda each: has_rows_only(graph, each))
        lines.append(("└─ " if last else "├─ ") + heading(graph, child))
        lines += [("   " if last else "│  ") + line for line in _block(graph, child, below)]
    return lines


def heading(graph: "LevelGraph", node: Place) -> str:
    """Name a place and say how many units it has and how many rows each of them."""
    if len(node) > 1:
        sizes = [graph.levels[level].size for level in node]
        product = " x ".join(f"{size:,}" for size in sizes)
        return f"{' x '.join(node)}: {product} = {math.prod(sizes):,}"
    level = graph.levels[next(iter(node))]
    if has_rows_only(graph, node):
        inside = graph.parents[node]
        where = " and ".join(f"one {' x '.join(parent)}" for parent in inside)
        text = f"{level.name}: {level.size:,}"
        return f"{text}, each in {where}" if len(inside) > 1 else text
    text = f"{level.name}: {level.size:,} {'group' if level.size == 1 else 'groups'}"
    spreads = [_spread_text(graph, rows, spread) for rows, spread in level.spreads.items()]
    text += f" of {' and '.join(spreads)}" if spreads else ""
    indexes = dict.fromkeys(link.index for link in graph.links if link.plate == level.name)
    known = [index for index in indexes if index]
    text += f"; index: {', '.join(known)}" if known else ""
    return text if level.declared else f"{text}; not a plate"


def _spread_text(graph: "LevelGraph", rows: str, spread: "Spread") -> str:
    """Write e.g. "1 to 116 rows (median 5)"."""
    level = graph.levels.get(rows)
    unit = rows if rows.startswith("rows") else f"{rows} rows"
    if level is not None and level.indexes:
        unit = f"{rows} groups"
    notes = [] if spread.least == spread.most else [f"median {spread.median:,g}"]
    notes += [f"{spread.empty:,} empty"] if spread.empty else []
    return f"{spread} {unit}" + (f" ({', '.join(notes)})" if notes else "")


def site_lines(graph: "LevelGraph", node: Place, width: int = WIDTH - 9) -> list[str]:
    """Write the sites of a place, those that depend on nothing together on one line."""
    names = [name for name, place in graph.places.items() if place == node]
    free = [
        name
        for name in names
        if graph.sites[name].kind == "latent" and not graph.sites[name].parents
    ]
    lines = _wrap(", ".join(_shaped(graph, name) for name in free), width, "")
    for name in names:
        if name not in free:
            lines += _wrap(_site_text(graph, name), width, "    ")
    return lines


def _wrap(text: str, width: int, indent: str) -> list[str]:
    """Wrap between sites, never between a site and its shape."""
    lines = textwrap.wrap(text.replace(" (", "\u00a0("), width, subsequent_indent=indent)
    return [line.replace("\u00a0", " ") for line in lines]


def _shaped(graph: "LevelGraph", name: str) -> str:
    shape = graph.sites[name].event_shape if graph.places[name] else graph.sites[name].shape
    sizes = " x ".join(str(size) for size in shape)
    return f"{name} ({sizes})" if sizes and graph.sites[name].kind != "factor" else name


def _site_text(graph: "LevelGraph", name: str) -> str:
    edges = {edge.parent: edge for edge in graph.edges if edge.child == name}
    parents = [
        f"{parent}[{' or '.join(edge.indexes)}]" if edge.how == "index" else parent
        for parent, edge in edges.items()
    ]
    words = {"deterministic": "computed from", "observed": "observed, given", "param": "parameter"}
    word = words.get(graph.sites[name].kind, "given")
    text = f"{_shaped(graph, name)} {word}"
    if graph.sites[name].kind == "factor":
        text = f"{name} (a term of the log density) {word}"
    return f"{text} {', '.join(parents)}" if parents else text.split(",")[0].split(" given")[0]


def notes(graph: "LevelGraph") -> list[str]:
    """Sentences about what a tree cannot show."""
    found = [str(relation) for relation in graph.relations if relation.kind != "nested"]
    for edge in graph.edges:
        if edge.how == "unknown" and graph.places[edge.child]:
            level = " x ".join(graph.places[edge.parent])
            found.append(
                f"Which {level} of {edge.parent} each {edge.child} uses is unknown: "
                "no index array of the data says so."
            )
    found += [f"Plate {plate} is used by no site." for plate in graph.unused]
    return found
