"""Structures as pictures that need nothing else: one SVG each, with element colours, cell and scale, which turn when
dragged where scripts may run."""

import hashlib
import html
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from ase.data.colors import jmol_colors
from numpy.typing import NDArray

from groundstate.atoms import System, find_neighbours
from groundstate.atoms.elements import periodic_table, symbols

_MOST_ATOMS = 3000
"""More are not drawn: nothing is seen, and the page becomes slow."""
_BONDED = 1.18
"""Two atoms closer than this many sums of covalent radii are joined by a line."""
_VIEW = (-72.0, -14.0)
"""Turn about x and about the vertical, degrees: a crystal's c axis stands nearly upright."""


@dataclass(frozen=True)
class Picture:
    """Markup for a page, and the numbers behind it for the JSON twin."""

    markup: str
    data: Mapping[str, Any]


def structures(named: Mapping[str, System]) -> Picture:
    """Each structure with its cell; atoms on the border of a cell are drawn on all its sides.

    Distances are to scale within one picture, sizes of atoms are 0.55 of their covalent radii.
    """
    here = {name: system.to("cpu") for name, system in named.items()}
    parts = [_one(name, system) for name, system in here.items()]
    data = {name: _stated(system) for name, system in here.items()}
    return Picture(f'<div class="crystals">{"".join(parts)}</div>', data)


def _stated(system: System) -> dict[str, Any]:
    return {
        "symbols": symbols(system.numbers.tolist()),
        "positions (Å)": system.positions.tolist(),
        "cell (Å)": system.cell[0].tolist(),
        "periodic": system.pbc[0].tolist(),
    }


def _one(name: str, system: System) -> str:
    title = f"<h3>{html.escape(name)}</h3>"
    if not 0 < system.n_atoms <= _MOST_ATOMS or not bool(np.isfinite(system.positions.numpy()).all()):
        return f'<div class="crystal">{title}<p class="legend">{system.n_atoms} atoms: not drawn</p></div>'
    scene = _scene(name, system)
    legend = "".join(
        f'<span><i style="background:{colour}"></i>{symbol}</span>'
        for symbol, colour in zip(scene["elements"], scene["colours"], strict=True)
    )
    return (
        f'<div class="crystal">{title}<svg viewBox="{_frame(scene)}" role="img" tabindex="0" aria-label='
        f'"{html.escape(name)}" data-scene="{html.escape(json.dumps(scene, separators=(",", ":")))}">'
        f'{_shades(scene)}<g class="scene">{_drawn(scene)}</g>{_scale(scene["reach"])}</svg>'
        f'<div class="legend">{legend}<span class="hint"></span></div></div>'
    )


def _scene(name: str, system: System) -> dict[str, Any]:
    """What is drawn, centred: atoms with their elements, bonds, edges of the cell, how far it all reaches (Å)."""
    positions, numbers = _shown_atoms(system)
    present = sorted(set(numbers.tolist()))
    radii = np.array([0.55 * periodic_table()[z - 1].covalent_radius for z in present])
    corners, edges = _cell_edges(system)
    around = np.concatenate([positions, corners])
    middle = (around.max(axis=0) + around.min(axis=0)) / 2
    reach = float(np.linalg.norm(around - middle, axis=1).max() + radii.max() + 0.2)
    content = hashlib.sha256(name.encode() + positions.tobytes() + numbers.tobytes()).hexdigest()
    return {
        "id": f"c{content[:10]}",
        "elements": symbols(present),
        "colours": ["#" + "".join(f"{round(255 * x):02x}" for x in jmol_colors[z]) for z in present],
        "radii": radii.round(3).tolist(),
        "kind": [present.index(z) for z in numbers.tolist()],
        "at": (positions - middle).round(3).tolist(),
        "bonds": _bonds(positions, numbers),
        "corners": (corners - middle).round(3).tolist(),
        "edges": edges,
        "reach": round(reach, 3),
        "view": list(_VIEW),
    }


def _shown_atoms(system: System) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Atoms folded into a full cell, with copies of those on its border; as they are where a direction is open."""
    positions, numbers = system.positions.numpy(), system.numbers.numpy()
    if not bool(system.pbc.all()) or float(system.volume[0]) < 1e-6:
        return positions, numbers
    cell = system.cell[0].numpy()
    fractional = (positions @ np.linalg.inv(cell) + 1e-3) % 1.0 - 1e-3
    copies, owners = [], []
    for shift in product((0.0, 1.0), repeat=3):
        moved = fractional + shift
        inside = (moved < 1 + 1e-3).all(axis=1)
        copies.append(moved[inside])
        owners.append(np.flatnonzero(inside))
    return np.concatenate(copies) @ cell, numbers[np.concatenate(owners)]


def _bonds(positions: NDArray[np.float64], numbers: NDArray[np.int64]) -> list[list[int]]:
    radii = np.array([periodic_table()[z - 1].covalent_radius for z in numbers.tolist()])
    graph = find_neighbours(System.single(positions, numbers), 2 * _BONDED * float(radii.max()))
    i, j = graph.receivers.numpy(), graph.senders.numpy()
    near = np.linalg.norm(positions[i] - positions[j], axis=1) < _BONDED * (radii[i] + radii[j])
    return np.stack([i, j], axis=1)[near & (i < j)].tolist()


def _cell_edges(system: System) -> tuple[NDArray[np.float64], list[list[int]]]:
    """Corners spanned by the lattice vectors that exist, and the pairs of them that an edge joins."""
    rows = [row for row in system.cell[0].numpy() if np.linalg.norm(row) > 1e-6] if bool(system.pbc.any()) else []
    if not rows:
        return np.zeros((0, 3)), []
    steps = list(product((0, 1), repeat=len(rows)))
    corners = np.array([np.sum([s * row for s, row in zip(step, rows, strict=True)], axis=0) for step in steps])
    edges = [
        [i, j]
        for i, one in enumerate(steps)
        for j, other in enumerate(steps)
        if i < j and sum(a != b for a, b in zip(one, other, strict=True)) == 1
    ]
    return corners, edges


def _shades(scene: Mapping[str, Any]) -> str:
    """The colour of each element as light falls on a sphere, under a name of this structure's own."""
    return (
        "<defs>"
        + "".join(
            f'<radialGradient id="{scene["id"]}-{i}" cx=".35" cy=".3" r=".9">{_mixed(colour)}</radialGradient>'
            for i, colour in enumerate(scene["colours"])
        )
        + "</defs>"
    )


def _mixed(colour: str) -> str:
    """From nearly white through the colour to a darker one."""
    channels = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    stops = ((0.0, [255 - (255 - c) * 0.35 for c in channels]), (0.45, channels), (1.0, [c * 0.62 for c in channels]))
    return "".join(
        f'<stop offset="{at}" stop-color="#{"".join(f"{round(c):02x}" for c in mixed)}"/>' for at, mixed in stops
    )


def _drawn(scene: Mapping[str, Any]) -> str:
    """The scene from its first view: what the script draws again from every other, in the same order."""
    turn = _rotation(*scene["view"])
    at = np.array(scene["at"]) @ turn.T
    corners = np.array(scene["corners"]).reshape(-1, 3) @ turn.T
    radius = np.array(scene["radii"])[scene["kind"]]
    shapes: list[tuple[float, str]] = []
    for i, j in scene["edges"]:
        middle = (corners[i] + corners[j]) / 2  # in halves, so that an atom at the nearer corner hides its end
        for corner in (corners[i], corners[j]):
            shapes.append(((corner[2] + middle[2]) / 2 - 0.2, _line("cell", corner, middle, 0.05)))
    for i, j in scene["bonds"]:
        along = (at[j] - at[i]) / np.linalg.norm(at[j] - at[i])  # from surface to surface, or it would cross its atoms
        start, end = at[i] + along * radius[i], at[j] - along * radius[j]
        shapes.append(((start[2] + end[2]) / 2, _line("bond", start, end, 0.14)))
    for (x, y, z), kind, r in zip(at.tolist(), scene["kind"], radius.tolist(), strict=True):
        fill = f"url(#{scene['id']}-{kind})"
        shapes.append((z, f'<circle cx="{x:.2f}" cy="{-y:.2f}" r="{r:.2f}" fill="{fill}" stroke-width=".04"/>'))
    return "".join(shape for _, shape in sorted(shapes, key=lambda shape: shape[0]))


def _line(kind: str, start: NDArray[np.float64], end: NDArray[np.float64], width: float) -> str:
    ends = f'x1="{start[0]:.2f}" y1="{-start[1]:.2f}" x2="{end[0]:.2f}" y2="{-end[1]:.2f}"'
    return f'<line class="{kind}" {ends} stroke-width="{width}"/>'


def _rotation(about_x: float, about_vertical: float) -> NDArray[np.float64]:
    """Turn about the structure's z axis first, then tip it towards the viewer."""
    a, b = math.radians(about_x), math.radians(about_vertical)
    tip = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    turn = np.array([[math.cos(b), -math.sin(b), 0], [math.sin(b), math.cos(b), 0], [0, 0, 1]])
    return tip @ turn


def _frame(scene: Mapping[str, Any]) -> str:
    reach = scene["reach"]
    return f"{-reach:.3f} {-reach:.3f} {2 * reach:.3f} {2 * reach:.3f}"


def _scale(reach: float) -> str:
    """A bar of a round length in the lower left corner."""
    length = next(x for x in (100, 50, 20, 10, 5, 2, 1, 0.5) if x <= max(0.8 * reach, 0.5))
    x, y, unit = -0.94 * reach, 0.93 * reach, reach / 100
    bar = f'<line x1="{x:.2f}" y1="{y:.2f}" x2="{x + length:.2f}" y2="{y:.2f}"/>'
    return (
        f'<g class="scale" stroke-width="{unit:.3f}">{bar}'
        f'<text x="{x:.2f}" y="{y - 3 * unit:.2f}" font-size="{8 * unit:.2f}" stroke="none">{length:g} Å</text></g>'
    )
