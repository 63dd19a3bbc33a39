"""A potential against a reference: against itself nothing differs, against a stiffer one all does as it must."""

import pytest
import torch

from groundstate.atoms import System
from groundstate.quantum import ASE, Reference, verify
from toys import fcc, lennard_jones

EMT = ASE("ase.calculators.emt:EMT", "EMT")


def strained(scale: float, seed: int) -> System:
    system, generator = fcc(), torch.Generator().manual_seed(seed)
    noise = 0.05 * torch.randn(system.positions.shape, generator=generator, dtype=torch.float64)
    return system.replace(positions=scale * (system.positions + noise), cell=scale * system.cell)


def test_differences_are_those_of_the_numbers_themselves():
    structures = [strained(1.0, 1), strained(1.02, 2), strained(0.99, 3)]
    with Reference(EMT) as reference:
        result = verify(lennard_jones(), structures, reference)
        labels = reference.compute(structures)
    first, second, _ = result.rows
    assert first.relative_energy_meV is None
    pairs = list(zip(result.rows, labels, strict=True))
    shift = [float(row.predicted["energy"] - label.values["energy"]) / 4 for row, label in pairs]
    assert second.relative_energy_meV == pytest.approx(1e3 * (shift[1] - shift[0]))
    difference = second.predicted["forces"] - labels[1].values["forces"]
    assert second.force_max == pytest.approx(float(difference.norm(dim=1).max()))
    assert second.stress_max_GPa > 0
    assert not result.same_theory
    assert result.summary()["ΔF rms (eV/Å)"] > 0


def test_what_either_side_refuses_keeps_its_reason_and_origins_are_by_composition():
    far = fcc(74, lattice_constant=3.2)
    lone = fcc(79, lattice_constant=4.1)
    with Reference(EMT) as reference:
        result = verify(lennard_jones(), [far, fcc(), lone, strained(1.01, 4)], reference)
    assert result.rows[0].problem is not None
    assert [row.relative_energy_meV is None for row in result.rows] == [True, True, True, False]
    assert result.rows[2].problem is None
