"""Forces of the native engine against plain torch in float64, with the same tables: errors over the force rms.

Plain torch in the same numbers stands beside it: where forces are small differences of large parts, as in silicon near
its equilibrium, float32 itself is the limit.

python benchmarks/kernel_accuracy.py            # three published shapes, Si and SrTiO3; about a minute
"""

import copy

import torch
from ase import Atoms
from ase.build import bulk
from rich.console import Console
from rich.table import Table

from groundstate.data import from_ase
from groundstate.potentials.derive import evaluate
from groundstate.potentials.mace import MACEConfig, MACETrunk, build
from groundstate.potentials.model import Model

ELEMENTS = (8, 14, 22, 38)
WANT = ("energy", "forces", "stress")


def model(hidden_lmax: int, dtype: str) -> Model:
    """A published shape with random weights, the same in either number type."""
    config = MACEConfig(
        channels=128,
        lmax=3,
        hidden_lmax=hidden_lmax,
        correlation=3,
        cutoff=6.0,
        radial_basis=10,
        radial_widths=(64, 64, 64),
        average_neighbours=50.0,
    )
    made = build(config, elements=ELEMENTS, reference_energies=[dict.fromkeys(ELEMENTS, 0.0)])
    return made if dtype == "float32" else made.double()


def plain(made: Model, dtype: str) -> Model:
    """The same in plain torch, whatever kernels are at hand."""
    reference = copy.deepcopy(made).to(getattr(torch, dtype))
    assert isinstance(reference.trunk, MACETrunk)
    reference.trunk.forward = reference.trunk.forward_plain  # type: ignore[method-assign]
    return reference


def structures() -> dict[str, Atoms]:
    """Displaced by 0.05 Å."""
    silicon = bulk("Si", "diamond", a=5.43, cubic=True) * (2, 2, 2)
    sites = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    titanate = Atoms("SrTiO3", scaled_positions=sites, cell=[3.905] * 3, pbc=True) * (3, 3, 3)
    for atoms in (silicon, titanate):
        atoms.rattle(0.05, seed=0)
    return {"Si 64": silicon, "SrTiO3 135": titanate}


def main() -> None:
    """Prints the table."""
    torch.set_num_threads(1)
    table = Table(
        "shape", "numbers", "structure", "forces: largest error / rms", "plain torch", "stress", "energy eV/atom"
    )
    for name, hidden_lmax in (("small", 0), ("medium", 1), ("large", 2)):
        for dtype in ("float32", "float64"):
            ours = model(hidden_lmax, dtype)
            if not ours.native:
                raise SystemExit("no native engine here: `groundstate doctor` says why")
            reference, alike = plain(ours, "float64"), plain(ours, dtype)
            for label, atoms in structures().items():
                system = from_ase(atoms)
                found, expected = evaluate(ours, system, WANT), evaluate(reference, system, WANT)
                forces, rms = expected["forces"], expected["forces"].pow(2).mean().sqrt()
                force = float((found["forces"] - forces).abs().max() / rms)
                by_torch = float((evaluate(alike, system, ("forces",))["forces"] - forces).abs().max() / rms)
                stress = float((found["stress"] - expected["stress"]).abs().max() / expected["stress"].abs().max())
                energy = float((found["energy"] - expected["energy"]).abs() / len(atoms))
                table.add_row(name, dtype, label, f"{force:.1e}", f"{by_torch:.1e}", f"{stress:.1e}", f"{energy:.1e}")
    Console().print(table)


if __name__ == "__main__":
    main()
