"""Serves any ASE calculator; runs in the interpreter of its package and imports nothing of groundstate.

settings   `maker`: the Python file of a family beside this one, with `make(settings) -> (calculator, facts)`, or
           `module:factory` importable there, called with `arguments`
           `sees`: which of `charge` and `multiplicity` the model reads; the others are not passed on, because a package
           may take them for something else
One structure that fails becomes its own refusal. Quantities, units and signs are those of ASE, which are ours but for
the names and the order of the stress.
"""

import importlib
import importlib.util
import warnings
from typing import Any

import ase
import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress

NAMES = {"charges": "charges", "magnetic_moments": "magmoms", "dipole": "dipole"}
"""Our names of quantities that ASE calls otherwise."""


def made(settings: "dict[str, Any]") -> "tuple[Any, dict[str, Any]]":
    """The calculator and what it says of itself."""
    maker = settings["maker"]
    if maker.endswith(".py"):
        spec = importlib.util.spec_from_file_location("groundstate_maker", maker)
        assert spec is not None, maker
        assert spec.loader is not None, maker
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        calculator, facts = module.make(settings)
        return calculator, dict(facts)
    module_name, _, factory = maker.partition(":")
    calculator = getattr(importlib.import_module(module_name), factory)(**settings.get("arguments", {}))
    return calculator, {"calculator": maker}


def atoms_of(structure: "dict[str, Any]", sees: "list[str]") -> ase.Atoms:
    """Charge and multiplicity travel in `info`, as the packages of this field read them."""
    atoms = ase.Atoms(
        numbers=structure["numbers"], positions=structure["positions"], cell=structure["cell"], pbc=structure["pbc"]
    )
    if "charge" in sees and "charge" in structure:
        atoms.info["charge"] = round(float(structure["charge"]))
    if "multiplicity" in sees and "multiplicity" in structure:
        atoms.info["spin"] = int(structure["multiplicity"])
    return atoms


def answer(calculator: Any, atoms: ase.Atoms, want: "list[str]") -> "dict[str, Any]":
    """One structure; nothing of the one before is reused."""
    calculator.reset()
    atoms.calc = calculator
    found: dict[str, Any] = {}
    for name in want:
        value = np.asarray(calculator.get_property(NAMES.get(name, name), atoms), dtype=np.float64)
        if name == "stress" and value.shape == (6,):
            value = voigt_6_to_full_3x3_stress(value)
        found[name] = value.reshape(()) if name == "energy" else value
    return found


def start(settings: "dict[str, Any]") -> Any:
    """See `external/worker.py`."""
    warnings.simplefilter("ignore")
    calculator, facts = made(settings)
    sees = settings.get("sees", ["charge", "multiplicity"])

    def compute(structures: "list[dict[str, Any]]", want: "list[str]") -> "list[Any]":
        answers: list[Any] = []
        for structure in structures:
            try:
                answers.append(answer(calculator, atoms_of(structure, sees), want))
            except Exception as error:  # noqa: BLE001 — anyone's code; the failure belongs to this structure
                answers.append(error)
        return answers

    compute.facts = {"ase": ase.__version__, **facts}  # type: ignore[attr-defined]
    return compute
