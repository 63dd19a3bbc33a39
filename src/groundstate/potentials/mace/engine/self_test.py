"""The engine against plain torch, on a handful of atoms, before its first use."""

import torch
from torch import Tensor

from groundstate.atoms import Geometry, System, find_neighbours
from groundstate.atoms.elements import N_ELEMENTS
from groundstate.equivariant.generator.library import KernelSpec
from groundstate.equivariant.native import Library
from groundstate.potentials.mace.config import MACEConfig
from groundstate.potentials.mace.engine.inference import Engine
from groundstate.potentials.mace.engine.structures import Structures
from groundstate.potentials.mace.trunk import MACETrunk
from groundstate.potentials.model import NodeFeatures

_TOLERANCE = {"float32": 2e-4, "float64": 1e-9}


def check_engine(spec: KernelSpec, library: Library) -> str | None:
    """What is wrong with the features or the gradients of an engine; `None` when they agree with plain torch."""
    if not Structures(spec).fit(library):
        return "the engine was compiled with other structures than it is called with"
    generator = torch.Generator().manual_seed(0)
    config = MACEConfig(
        channels=spec.channels,
        lmax=spec.lmax,
        hidden_lmax=spec.hidden_lmax,
        correlation=spec.correlation,
        cutoff=3.0,
        radial_knots=16,
        radial_smoothness=spec.order - 1,
        residual_first=True,
        average_neighbours=4.0,
        dtype=spec.dtype,  # type: ignore[arg-type]
    )
    trunk = MACETrunk(config, (1, 8), 1, generator=generator)
    assert trunk.radial_functions.hold is not None
    trunk.radial_functions.hold.know(torch.full((N_ELEMENTS + 1, N_ELEMENTS + 1), torch.inf))  # from contact on
    system = _structure(generator)
    graph = find_neighbours(system, config.cutoff + 0.5)  # some edges lie beyond the cutoff
    found = _with_gradients(system, lambda s: _run(Engine(trunk, spec, library), trunk, s, graph))
    expected = _with_gradients(system, lambda s: trunk.forward_plain(s, Geometry(s, graph)))
    for name, ours, theirs in zip(
        ("features", "gradient by positions", "gradient by cell"), found, expected, strict=True
    ):
        error = float((ours - theirs).abs().max() / theirs.abs().max())
        if not error < _TOLERANCE[spec.dtype]:
            return f"the {name} of the engine are wrong (relative error {error:.1e})"
    return None


def _structure(generator: torch.Generator) -> System:
    """Five atoms in a skewed cell smaller than the cutoff, and a pair without, nearer than it touches."""
    cell = torch.tensor([[2.9, 0.2, 0.0], [0.4, 3.1, 0.1], [0.0, -0.3, 3.3]], dtype=torch.float64)
    places = torch.tensor([[0, 0, 0], [0.5, 0.45, 0.1], [0.1, 0.5, 0.55], [0.6, 0.1, 0.5], [0.5, 0.8, 0.7]])
    jitter = 0.1 * torch.randn(5, 3, dtype=torch.float64, generator=generator)
    crystal = System.single(places.double() @ cell + jitter, [8, 1, 1, 8, 1], cell=cell, pbc=True)
    return System.batch([crystal, System.single([[0.0, 0.0, 0.0], [0.25, 0.67, 0.61]], [8, 1])])


def _run(engine: Engine, trunk: MACETrunk, system: System, graph: object) -> NodeFeatures:
    classes = trunk.classes(system)
    geometry = Geometry(system, graph, first_order=True)  # type: ignore[arg-type]
    return NodeFeatures(engine.features(system, geometry, classes, trunk.initial(system, classes)))


def _with_gradients(system: System, run):  # type: ignore[no-untyped-def]
    """Invariants of all layers, and gradients of a number made of them."""
    with torch.enable_grad():
        positions, cell = system.positions.clone().requires_grad_(), system.cell.clone().requires_grad_()
        features = run(system.replace(positions=positions, cell=cell))
        rows: Tensor = torch.cat([layer[:, 0] for layer in features.layers], dim=1).double()
        wave = torch.cos(torch.arange(rows.numel(), dtype=torch.float64) * 0.7390851 + 0.5).view_as(rows)
        gradients = torch.autograd.grad((rows * wave).sum(), [positions, cell])
    return rows.detach(), *gradients
