"""A driver (see `external/worker.py`) for a checkpoint of mace-torch, run by mace-torch: what a converted model is
compared with. It stands alone, under the interpreter that has mace-torch, and imports nothing of groundstate.

Reading a checkpoint runs whatever code its pickle carries.
"""

from collections.abc import Callable, Sequence
from typing import Any


def start(settings: dict[str, Any]) -> Callable[[Sequence[dict[str, Any]], Sequence[str]], list[dict[str, Any]]]:
    """`settings`: `checkpoint`, and `head` where the model has several."""
    import mace
    import torch
    from ase import Atoms
    from mace.calculators import MACECalculator

    model = torch.load(settings["checkpoint"], map_location="cpu", weights_only=False)
    precision = str(next(model.parameters()).dtype).removeprefix("torch.")
    head = {"head": settings["head"]} if settings.get("head") else {}
    calculator = MACECalculator(models=[model], device="cpu", default_dtype=precision, **head)

    def one(given: dict[str, Any]) -> dict[str, Any]:
        atoms = Atoms(given["numbers"], given["positions"], cell=given["cell"], pbc=given["pbc"])
        atoms.calc = calculator
        found = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        if atoms.pbc.all():
            found["stress"] = atoms.get_stress(voigt=False)
        return found

    def compute(structures: Sequence[dict[str, Any]], want: Sequence[str]) -> list[dict[str, Any]]:
        return [one(given) for given in structures]

    compute.facts = {"mace-torch": mace.__version__, "torch": torch.__version__, "precision": precision}  # type: ignore[attr-defined]
    return compute
