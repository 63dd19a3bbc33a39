"""The ways there are to ask a potential about structures; all of them must give the same numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from ase.stress import voigt_6_to_full_3x3_stress
from jaxtyping import Float
from torch import Tensor

from groundstate import zoo
from groundstate.api.sources import LoadedModel
from groundstate.api.structures import predict
from groundstate.atoms import Allowances, GroundstateError, OptionError, System
from groundstate.data import to_ase
from groundstate.external import Worker
from groundstate.potentials import Potential, evaluate
from groundstate.potentials.mace.plain import in_plain_torch
from groundstate.simulation.engine import Engine

_SKIN, _MOVED = 1.0, 0.2
"""Å: how much further a list reaches, and how far atoms move between its making and its use."""


class NotHere(Exception):  # noqa: N818 — not an error: this path does not exist for this model or on this machine
    """Why a path is left out."""


@dataclass(frozen=True, eq=False)
class Asked:
    """Energy eV, forces eV/Å, stress eV/Å³ of one structure; `None` for the stress where there is no volume."""

    energy: float
    forces: Float[Tensor, "atom 3"]
    stress: Float[Tensor, "3 3"] | None


Way = Callable[[LoadedModel, Sequence[System]], Sequence[Asked | None]]
"""To ask: an answer per structure, `None` where this way cannot take it. Raises `NotHere` where it does not exist."""


def single(loaded: LoadedModel, structures: Sequence[System]) -> list[Asked | None]:
    """Each structure alone with neighbours found for it: what every other path is compared with."""
    return [_evaluated(loaded.potential, one) for one in structures]


def batched(loaded: LoadedModel, structures: Sequence[System], allow: Allowances | None = None) -> list[Asked | None]:
    """Many structures in one batch, as `predict` does; one structure is accompanied by a copy of itself."""
    found: dict[int, Asked | None] = {}
    for stressed in (True, False):
        members = [i for i, one in enumerate(structures) if has_volume(one) == stressed]
        asked = [structures[i] for i in members for _ in range(2 if len(structures) == 1 else 1)]
        want = ("energy", "forces", "stress") if stressed else ("energy", "forces")
        results = predict(asked, loaded, want, allow=allow)[: len(members)] if members else []
        for i, result in zip(members, results, strict=True):
            if result.problem is not None:
                raise result.problem
            found[i] = _here(result.values["energy"], result.values["forces"], result.values.get("stress"))
    return [found[i] for i in range(len(structures))]


def ase_calculator(
    loaded: LoadedModel, structures: Sequence[System], allow: Allowances | None = None
) -> list[Asked | None]:
    """One ASE calculator for all, so that nothing of one structure may linger in the next."""
    calculator = loaded.calculator(allow=allow)
    answers: list[Asked | None] = []
    for one in structures:
        (atoms,) = to_ase(one)
        if one.theory is not None:
            atoms.info["theory"] = int(one.theory[0])
        atoms.calc = calculator
        stress = None
        if has_volume(one):
            stress = torch.from_numpy(np.asarray(voigt_6_to_full_3x3_stress(atoms.get_stress())))
        answers.append(Asked(atoms.get_potential_energy(), torch.from_numpy(atoms.get_forces()), stress))
    return answers


def verlet_skin(loaded: LoadedModel, structures: Sequence[System]) -> list[Asked | None]:
    """The engine of relaxation and dynamics, on neighbour lists made before the atoms moved to where they are."""
    answers: list[Asked | None] = []
    generator = torch.Generator().manual_seed(0)
    for one in structures:
        engine = Engine(loaded.potential, _SKIN)
        away = torch.randn(one.positions.shape, dtype=torch.float64, generator=generator).to(one.device)
        away = _MOVED * away / torch.linalg.vector_norm(away, dim=1).max()
        engine.neighbours.graph(one.replace(positions=one.positions + away))
        found, errors = engine.evaluate(one, ("energy", "forces", "strain_gradient"))
        if errors:
            raise errors[0]
        if engine.neighbours.builds != 1:
            raise GroundstateError("E-PARITY", "the neighbour list was made again, so that this path was not tried")
        stress = found["strain_gradient"][0] / one.volume[0] if has_volume(one) else None
        answers.append(_here(found["energy"][0], found["forces"], stress))
    return answers


def second_derivatives(loaded: LoadedModel, structures: Sequence[System]) -> list[Asked | None]:
    """As in training, where forces are differentiated once more."""
    if not loaded.potential.twice_differentiable:
        raise NotHere("this model has first derivatives only")
    return [_evaluated(loaded.potential, one, differentiable=True) for one in structures]


def plain_torch(loaded: LoadedModel, structures: Sequence[System]) -> list[Asked | None]:
    """The network without its compiled kernels."""
    if not loaded.potential.native:
        raise NotHere("this model has no compiled kernels here, every path is plain torch (`groundstate doctor`)")
    plain = in_plain_torch(loaded.potential)
    return [_evaluated(plain, one) for one in structures]


def double_precision(loaded: LoadedModel, structures: Sequence[System]) -> list[Asked | None]:
    """The same network in float64: what its own rounding does."""
    double = zoo.in_float64(loaded.potential)
    if double is None:
        raise NotHere("the model computes in float64 already")
    return [_evaluated(double, one) for one in structures]


def torchsim(loaded: LoadedModel, structures: Sequence[System], allow: Allowances | None = None) -> list[Asked | None]:
    """TorchSim's model interface. A state of it is periodic in all directions or none, and has no charge."""
    if find_spec("torch_sim") is None:
        raise NotHere("torch-sim is not installed (pip install 'groundstate[torchsim]')")
    from groundstate.potentials.adapters.torchsim import SimState

    answers: list[Asked | None] = []
    for one in structures:
        periodic = one.pbc[0].tolist()
        if any(periodic) != all(periodic):
            answers.append(None)
            continue
        stated = {"charge": one.charge, "multiplicity": one.multiplicity, "theory": one.theory}
        conditions = {name: value[0].item() for name, value in stated.items() if value is not None}
        model = loaded.torchsim(compute_stress=has_volume(one), allow=allow, **conditions)
        state = SimState(one.positions, one.masses, one.cell.mT.contiguous(), all(periodic), one.numbers)
        found = model(state)
        stress = found["stress"][0] if "stress" in found else None
        answers.append(_here(found["energy"][0], found["forces"], stress))
    return answers


def every_way(allow: Allowances | None = None) -> dict[str, Way]:
    """Every way by name, with the refusals that are lifted; the plain evaluation they are compared with is `single`."""
    return {
        "batched": partial(batched, allow=allow),
        "ASE calculator": partial(ase_calculator, allow=allow),
        "relaxation engine, skin in use": verlet_skin,
        "training, second derivatives": second_derivatives,
        "plain torch, no kernels": plain_torch,
        "float64": double_precision,
        "TorchSim": partial(torchsim, allow=allow),
    }


def original(checkpoint: Path, python: str, *, trust_pickle: bool, head: str | None = None) -> Way:
    """The checkpoint a model was converted from, computed by mace-torch under the interpreter `python`."""
    if not trust_pickle:
        raise OptionError(
            "E-PICKLE-TRUST",
            "a checkpoint of mace-torch is a pickle, and reading it runs whatever code it carries",
            fix="say that you trust where it came from (--trust-pickle)",
            file=str(checkpoint),
        )

    def ask(loaded: LoadedModel, structures: Sequence[System]) -> list[Asked | None]:
        settings = {"checkpoint": str(checkpoint.resolve()), "head": head}
        answers: list[Asked | None] = []
        with Worker(zoo.MACE_ORIGINAL, settings, python=python, name="mace-torch") as worker:
            for one in structures:
                periods = int(one.pbc.sum())
                if 0 < periods < 3:  # its strain reaches into open directions
                    answers.append(None)
                    continue
                (found,) = worker.ask(one, ("energy", "forces", *(["stress"] if periods else [])))
                if isinstance(found, GroundstateError):
                    raise found
                answers.append(Asked(float(found["energy"]), found["forces"], found.get("stress")))
        return answers

    return ask


def has_volume(one: System) -> bool:
    """Whether a stress is defined."""
    return bool(one.pbc.any()) and float(one.volume[0]) > 1e-6


def _evaluated(potential: Potential, one: System, *, differentiable: bool = False) -> Asked:
    want = ("energy", "forces", "stress") if has_volume(one) else ("energy", "forces")
    found = {k: v.detach() for k, v in evaluate(potential, one, want, differentiable=differentiable).items()}
    return _here(found["energy"][0], found["forces"], found["stress"][0] if "stress" in found else None)


def _here(energy: Tensor, forces: Tensor, stress: Tensor | None) -> Asked:
    """On the CPU in float64, whatever computed it."""
    return Asked(
        float(energy), forces.to("cpu", torch.float64), None if stress is None else stress.to("cpu", torch.float64)
    )
