"""A potential as a TorchSim model: its optimisers, integrators and batchers over any potential of ours.

Importing this file needs torch-sim; nothing else here does.
"""

import warnings
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from groundstate.atoms import (
    Allowances,
    Graph,
    GroundstateError,
    OptionError,
    RunError,
    System,
    UndefinedPropertyError,
    VerletList,
    check,
    check_moved,
    find_neighbours,
)
from groundstate.potentials.derive import evaluate, refuse_not_finite
from groundstate.potentials.potential import Potential

try:
    with warnings.catch_warnings():  # it compiles with torch.jit on import, which newer torch calls deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch_sim.models.interface import ModelInterface
        from torch_sim.state import SimState
except ImportError:
    raise RunError(
        "E-EXTRA-MISSING",
        "the TorchSim door needs torch-sim, which is not installed",
        fix="install it: pip install 'groundstate[torchsim]'",
    ) from None


class TorchSimModel(ModelInterface):
    """`ModelInterface` of torch-sim 0.3: energy (eV), forces (eV/Å), stress (eV/Å³, positive in tension) of a state.

    A state of torch-sim carries neither charge nor spin nor level of theory, so those given here hold for all its
    structures. Its cells are columns and its periods all or none; positions are computed in float64 whatever its dtype.
    Every call passes the contract: torch-sim has no place for the refusal of one structure, so a bad one raises.
    Checked: tests/potentials/test_torchsim.py (torch-sim's own validation, statics, optimiser and integrator).
    """

    def __init__(
        self,
        potential: Potential,
        *,
        charge: float | None = None,
        multiplicity: int | None = None,
        theory: int | None = None,
        allow: Allowances | None = None,
        compute_stress: bool = True,
        dtype: torch.dtype = torch.float64,
        skin: float = 1.0,
    ) -> None:
        super().__init__()
        if dtype not in (torch.float32, torch.float64):
            raise OptionError("E-PRECISION", f"a state of torch-sim cannot be {dtype}", fix="use float64 or float32")
        self.potential = potential
        self.conditions = {"charge": charge, "multiplicity": multiplicity, "theory": theory}
        self.allow = allow
        first = next(chain(potential.parameters(), potential.buffers()), None)
        self._device = torch.device("cpu") if first is None else first.device
        self._dtype = dtype
        self._compute_forces, self._compute_stress = True, compute_stress
        self._memory_scales_with = "n_atoms_x_density"
        self._neighbours = VerletList(potential.cutoff, skin)
        self._known: tuple[Tensor, ...] | None = None

    def forward(self, state: Any, **_: Any) -> dict[str, Tensor]:
        """Energy, forces and, unless it was left out, stress of every structure of a state."""
        state = (
            SimState(**state, masses=torch.ones_like(state["positions"][:, 0])) if isinstance(state, dict) else state
        )
        if self._compute_stress and not state.pbc:
            raise UndefinedPropertyError(
                "E-PROPERTY-UNDEFINED",
                "'stress' cannot be given",
                why="a state without periods has no volume to divide by",
                fix="make the model with compute_stress=False",
            )
        system = self.system(state)
        graph = self._admitted(system)
        want = ("energy", "forces", "stress") if self._compute_stress else ("energy", "forces")
        found = evaluate(self.potential, system, want, graph=graph)
        refuse_not_finite(found, system)
        return {name: value.to(state.dtype) for name, value in found.items()}

    def _admitted(self, system: System) -> Graph:
        """Neighbours of a batch that passed the contract, in full where its atoms are new, else as what has moved."""
        known, self._known = self._known, (system.numbers, system.system_ptr, system.pbc)
        new = known is None or any(not torch.equal(now, then) for now, then in zip(self._known, known, strict=True))
        if new or not bool(torch.isfinite(system.positions).all() and torch.isfinite(system.cell).all()):
            check(system, self.potential.domain, self.allow)
            return self._neighbours.graph(system)
        graph = self._neighbours.graph(system)
        for frame, single in enumerate(system):

            def near(one: System, cutoff: float, frame: int = frame) -> Graph:
                return _of_one(graph, system, frame) if cutoff <= graph.cutoff else find_neighbours(one, cutoff)

            try:
                check_moved(single, self.potential.domain, self.allow, near)
            except GroundstateError as error:
                raise error.at(frame=frame) from error
        return graph

    def system(self, state: Any) -> System:
        """A state of torch-sim as ours: rows for columns, periods per structure, the conditions stated here."""
        counts = state.system_idx.bincount(minlength=state.n_systems)
        stated = {
            name: torch.full((state.n_systems,), value, dtype=_CONDITION_TYPES[name], device=state.device)
            for name, value in self.conditions.items()
            if value is not None
        }
        return System(
            positions=state.positions.detach().to(torch.float64),
            numbers=state.atomic_numbers.to(torch.int64),
            system_ptr=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
            cell=state.row_vector_cell.detach().to(torch.float64).contiguous(),
            pbc=torch.full((state.n_systems, 3), bool(state.pbc), device=state.device),
            masses=state.masses.to(torch.float64),
            **stated,
        )


_CONDITION_TYPES = {"charge": torch.float64, "multiplicity": torch.int64, "theory": torch.int64}


def _of_one(graph: Graph, system: System, frame: int) -> Graph:
    """The part of a batch's graph that belongs to one structure."""
    first, last = system.system_ptr[frame : frame + 2].tolist()
    start, end = graph.receiver_ptr[[first, last]].tolist()
    return Graph(
        graph.receivers[start:end] - first,
        graph.senders[start:end] - first,
        graph.shifts[start:end],
        graph.receiver_ptr[first : last + 1] - start,
        graph.reverse[start:end] - start,
        graph.cutoff,
    )
