"""What every verb takes: structures from files, ASE atoms or systems; a model by name, path or as it is; options."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor

from groundstate import zoo
from groundstate.atoms import OptionError, System, nearest
from groundstate.data import from_ase, read, to_ase
from groundstate.potentials import Potential
from groundstate.potentials.adapters import Calculator

File: TypeAlias = str | Path
Source: TypeAlias = str | Path | Atoms | System | Sequence[Any]


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A potential and the immutable id its results are recorded under."""

    potential: Potential
    id: str

    def calculator(self, **options: Any) -> Calculator:
        """An ASE calculator."""
        return Calculator(self.potential, **options)

    def torchsim(self, **options: Any) -> Any:
        """A model of torch-sim (`ModelInterface`); see `potentials.adapters.torchsim`."""
        from groundstate.potentials.adapters.torchsim import TorchSimModel

        return TorchSimModel(self.potential, **options)


def load(model: "File | Potential | LoadedModel") -> LoadedModel:
    """A public model by name, or a model file by path; names resolve to an immutable id, an unknown one is refused."""
    if isinstance(model, LoadedModel):
        return model
    potential = model if isinstance(model, Potential) else zoo.load(model)
    return LoadedModel(potential, potential.fingerprint())


def systems(source: Source) -> list[System]:
    """Every structure of a source, one `System` each."""
    if isinstance(source, str | Path):
        return [record.system for record in read(source).records]
    if isinstance(source, Atoms):
        return [from_ase(source)]
    if isinstance(source, System):
        return list(source)
    return [single for part in source for single in systems(part)]


def with_results(system: System, values: Mapping[str, Tensor]) -> Atoms:
    """ASE atoms that carry energy (eV), forces (eV/Å) and stress (Voigt, eV/Å³) as a finished calculation."""
    (atoms,) = to_ase(system)
    given = {
        name: values[name].detach().cpu().double().numpy() for name in ("energy", "forces", "stress") if name in values
    }
    results: dict[str, Any] = dict(given)
    if "energy" in given:
        results["energy"] = float(given["energy"])
    if "stress" in given:
        results["stress"] = full_3x3_to_voigt_6_stress(given["stress"])
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def configured(kind: Any, options: Mapping[str, Any]) -> Any:
    """A configuration from keyword options; a name it does not have is answered with the nearest."""
    known = [f.name for f in fields(kind)]
    for name in options:
        if name not in known:
            raise OptionError("E-OPTION", f"there is no option '{name}'", fix=nearest(name, known))
    return kind(**options)
