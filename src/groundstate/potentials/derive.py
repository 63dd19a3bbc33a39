"""The one place where derivatives of an energy are taken.

Sign and normalisation: forces = −∂E/∂r; strain acts once, on positions and cell together, before any term sees them:
r → r(1 + PεP), cell → cell(1 + PεP), with P the projector on the span of the periodic lattice vectors, so a slab is
strained in its plane only and a molecule not at all; stress = +(1/|V|) ∂E/∂ε.
Source: Knuth et al., Comput. Phys. Commun. 190, 33 (2015). Checked by finite differences: tests/laws/test_laws.py.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import Geometry, Graph, StructureError, System, UndefinedPropertyError, find_neighbours, nearest
from groundstate.equivariant.operators import derivatives, threads_for_kernels
from groundstate.potentials.potential import Potential

_DERIVED = frozenset({"energy", "energies", "forces", "strain_gradient", "stress", "stresses"})
_MANY_ATOMS = 10_000
"""From here on torch has enough to do beside kernels to use its threads."""


def evaluate(
    potential: Potential,
    system: System,
    want: Sequence[str] = ("energy", "forces"),
    *,
    graph: Graph | None = None,
    differentiable: bool = False,
) -> dict[str, Tensor]:
    """The wanted quantities of a batch, by name, in the units and shapes of the table of quantities.

    graph           neighbours of exactly this system, complete to the potential's cutoff; found here when `None`
    differentiable  keep the graph of the forces, so that a loss on them reaches the parameters
    Raises UndefinedPropertyError for a quantity that this potential does not give or this structure does not have. A
    result that is not finite is returned as it is; the caller decides which structure of the batch it condemns.
    """
    wanted = frozenset(want)
    _refuse_undefined(potential, system, wanted)
    needs_strain = bool(wanted & {"strain_gradient", "stress"})
    needs_forces = "forces" in wanted
    alone = not differentiable and system.n_atoms < _MANY_ATOMS and potential.native
    with torch.enable_grad(), threads_for_kernels() if alone else nullcontext():
        strained, strain, positions = _leaves(system, needs_strain, needs_forces or needs_strain)
        if "stresses" in wanted and positions is None:
            strained = strained.replace(positions=strained.positions.detach().requires_grad_())
        graph = graph if graph is not None else find_neighbours(system, potential.cutoff)
        geometry = Geometry(strained, graph, first_order=not differentiable, by_edge="stresses" in wanted)
        prediction = potential(strained, geometry)
        energy = prediction.energy.per_system
        leaves = ([positions] if needs_forces else []) + ([strain] if needs_strain else [])
        gradients = iter(_gradients(energy, leaves, differentiable, retain="stresses" in wanted))
        found = {**prediction.outputs, "energy": energy}
        if needs_forces:
            found["forces"] = -next(gradients)
        if needs_strain:
            found["strain_gradient"] = next(gradients)
        if "stress" in wanted:
            found["stress"] = found["strain_gradient"] / system.volume[:, None, None]
        if "stresses" in wanted:
            found["stresses"] = _stress_partition(energy, geometry, system)
    if "energies" in wanted:
        if prediction.energy.per_atom is None:
            raise _undefined("energies", "this potential has no partition of its energy over atoms")
        found["energies"] = prediction.energy.per_atom
    return {name: found[name] if differentiable else found[name].detach() for name in want}


def periodic_projector(system: System) -> Float[Tensor, "system 3 3"]:
    """Projector on the span of the periodic lattice vectors: 1 for a crystal, the plane of a slab, 0 for a molecule."""
    if bool(system.pbc.all()) and bool((system.volume > 1e-6).all()):
        return torch.eye(3, dtype=torch.float64, device=system.device).expand(system.n_systems, 3, 3)
    rows = system.cell.detach() * system.pbc[:, :, None]
    _, singular, right = torch.linalg.svd(rows)
    spanned = (singular > 1e-10 * singular.amax(dim=1, keepdim=True).clamp_min(1e-300)).to(rows.dtype)
    return (right * spanned[:, :, None]).transpose(1, 2) @ right


def hessian(
    potential: Potential,
    system: System,
    *,
    method: Literal["differences", "autograd"] = "differences",
    displacement: float = 0.01,
) -> Float[Tensor, "row column"]:
    """Second derivatives of the energy of one structure, eV/Å², `[3·atom, 3·atom]`, symmetrised.

    differences   central differences of forces over ±`displacement` Å, all 6N displaced copies batched: the way for
                  production, error O(displacement²); use it in float64
    autograd      exact second derivatives: the oracle for small systems
    """
    if system.n_systems != 1:
        raise UndefinedPropertyError(
            "E-HESSIAN-BATCH", "a Hessian belongs to one structure", fix="select one of the batch"
        )
    n = 3 * system.n_atoms
    if method == "autograd" and not potential.twice_differentiable:
        raise UndefinedPropertyError(
            "E-HESSIAN-AUTOGRAD",
            "second derivatives of this potential cannot be taken by torch",
            why="a part of it computes outside of torch, and its share would be missing",
            fix="take them as differences (method='differences')",
        )
    if method == "autograd":
        positions = system.positions.detach().requires_grad_()
        moved = system.replace(positions=positions)
        graph = find_neighbours(system, potential.cutoff)
        energy = potential(moved, Geometry(moved, graph)).energy.per_system.sum()
        (gradient,) = torch.autograd.grad(energy, positions, create_graph=True)
        rows = [torch.autograd.grad(g, positions, retain_graph=True)[0].reshape(n) for g in gradient.reshape(n)]
        matrix = torch.stack(rows)
    else:
        steps = displacement * torch.eye(n, dtype=torch.float64, device=system.device).reshape(n, -1, 3)
        copies = [system.replace(positions=system.positions + sign * step) for step in steps for sign in (1.0, -1.0)]
        forces = torch.cat([evaluate(potential, copy, ("forces",))["forces"].reshape(1, n) for copy in copies])
        matrix = -(forces[0::2] - forces[1::2]) / (2 * displacement)
    return 0.5 * (matrix + matrix.T)


def _leaves(system: System, strained: bool, moved: bool) -> tuple[System, Tensor | None, Tensor | None]:
    """The system as the potential sees it, with the strain and position leaves its derivatives are taken by."""
    if not moved:
        return system, None, None
    positions = system.positions.detach().requires_grad_()
    if not strained:
        return system.replace(positions=positions), None, positions
    strain = torch.zeros(system.n_systems, 3, 3, dtype=torch.float64, device=system.device, requires_grad=True)
    projector = periodic_projector(system)
    symmetric = projector @ (0.5 * (strain + strain.transpose(1, 2))) @ projector
    deformation = torch.eye(3, dtype=torch.float64, device=system.device) + symmetric
    return (
        system.replace(
            positions=torch.einsum("ai,aij->aj", positions, deformation[system.system_index]),
            cell=system.cell.detach() @ deformation,
        ),
        strain,
        positions,
    )


def _gradients(
    energy: Tensor, leaves: Sequence[Tensor | None], differentiable: bool, retain: bool
) -> tuple[Tensor, ...]:
    inputs = [leaf for leaf in leaves if leaf is not None]
    if not inputs:
        return ()
    if not energy.requires_grad:  # no term depends on positions: isolated atoms
        return tuple(torch.zeros_like(leaf) for leaf in inputs)
    with derivatives("geometry"):
        found = torch.autograd.grad(
            energy.sum(),
            inputs,
            create_graph=differentiable,
            retain_graph=differentiable or retain,
            allow_unused=True,
            materialize_grads=True,
        )
    return tuple(found)


def _stress_partition(energy: Tensor, geometry: Geometry, system: System) -> Float[Tensor, "atom 3 3"]:
    """Half of each edge's virial to either end, over the volume; sums to the stress."""
    share = torch.zeros(system.n_atoms, 3, 3, dtype=torch.float64, device=system.device)
    all_edges = geometry.measured()
    if not energy.requires_grad:
        return share
    slopes = torch.autograd.grad(
        energy.sum(), [e.vectors for e in all_edges], allow_unused=True, materialize_grads=True
    )
    for edges, slope in zip(all_edges, slopes, strict=True):
        virial = slope[:, :, None] * edges.vectors.detach()[:, None, :]
        virial = 0.25 * (virial + virial.transpose(1, 2))
        share = share.index_add(0, edges.receivers, virial).index_add(0, edges.senders, virial)
    projector = periodic_projector(system)[system.system_index]
    return projector @ share @ projector / system.volume[system.system_index][:, None, None]


def _refuse_undefined(potential: Potential, system: System, wanted: frozenset[str]) -> None:
    for name in sorted(wanted - _DERIVED - potential.provides):
        raise _undefined(name, "this potential does not predict it", nearest(name, _DERIVED | potential.provides))
    periods = system.pbc.sum(dim=1)
    if "dipole" in wanted and bool((periods > 0).any()):
        frame = int((periods > 0).nonzero()[0, 0])
        raise _undefined("dipole", "the dipole of a periodic structure depends on where its cell begins", frame=frame)
    if not wanted & {"stress", "stresses"}:
        return
    if bool((periods == 0).any()):
        frame = int((periods == 0).nonzero()[0, 0])
        raise _undefined("stress", "a structure without periods has no volume to divide by", frame=frame)
    flat = system.volume < 1e-6
    if bool(flat.any()):
        raise _undefined(
            "stress",
            "the cell has no thickness along an open direction, so a stress in eV/Å³ does not exist",
            "ask for 'strain_gradient' (eV), over the area it is the slab's σ·h; or give the open direction a length",
            frame=int(flat.nonzero()[0, 0]),
        )


def _undefined(name: str, why: str, fix: str = "", frame: int | None = None) -> UndefinedPropertyError:
    return UndefinedPropertyError("E-PROPERTY-UNDEFINED", f"'{name}' cannot be given", why=why, fix=fix, frame=frame)


def refuse_not_finite(results: dict[str, Tensor], system: System) -> None:
    """Raise when any result of any structure is NaN or infinite: the last check before a number leaves a door."""
    for name, values in results.items():
        bad = ~torch.isfinite(values).reshape(values.shape[0], -1).all(dim=1)
        if bad.any():
            row = int(bad.nonzero()[0, 0])
            frame = int(system.system_index[row]) if values.shape[0] == system.n_atoms != system.n_systems else row
            raise StructureError(
                "E-RESULT-NOT-FINITE",
                f"the model's {name} is not finite",
                why="a number that is not one must not be written",
                fix="the structure is far outside what the model knows; inspect it",
                frame=frame,
            )
