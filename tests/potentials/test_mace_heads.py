"""Dipoles from charges: what must hold whatever the weights."""

import pytest
import torch

from groundstate.atoms import GroundstateError, System
from groundstate.potentials import Potential, evaluate
from groundstate.potentials.mace import MACEConfig, build

SHAPE = MACEConfig(channels=4, lmax=2, hidden_lmax=1, correlation=2, cutoff=4.0, heads=("charges", "dipole"))


def model() -> Potential:
    """For water, with charges that matter."""
    made = build(SHAPE, elements=[1, 8], reference_energies=[{1: 0.0, 8: 0.0}], seed=3)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("dipole.charges.of_element"):
                parameter.copy_(torch.tensor([0.3, -0.2]))
    return made


def water(shift: float = 0.0, charge: float | None = None) -> System:
    positions = torch.tensor([[0.0, 0.0, 0.0], [0.9, 0.1, 0.3], [-0.3, 0.95, 0.0]], dtype=torch.float64) + shift
    return System.single(positions, [8, 1, 1], charge=charge)


def dipole(system: System) -> torch.Tensor:
    return evaluate(model(), system, ("dipole",))["dipole"][0]


def test_a_neutral_dipole_has_no_origin_and_turns_with_the_molecule() -> None:
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]
    here = dipole(water())
    assert float(here.norm()) > 0.05
    torch.testing.assert_close(dipole(water(7.0)), here, rtol=0, atol=1e-6)
    turned = water().replace(positions=water().positions @ turn.T)
    torch.testing.assert_close(dipole(turned), turn @ here, rtol=0, atol=1e-6)


def test_charges_add_up_to_that_of_the_structure() -> None:
    # Of a charge that moves with the molecule the dipole about the centre of mass is that of the partial charges.
    neutral, charged = dipole(water()), dipole(water(charge=3.0))
    system = water()
    middle = system.positions.mean(dim=0)
    centre = (system.masses[:, None] * system.positions).sum(dim=0) / system.masses.sum()
    torch.testing.assert_close(charged - neutral, 3.0 * (middle - centre), rtol=0, atol=1e-9)


def test_heads_agree_in_plain_torch_and_kernels() -> None:
    plain = evaluate(model(), water(), ("charges", "dipole"), differentiable=True)
    for name, value in evaluate(model(), water(), ("charges", "dipole")).items():
        torch.testing.assert_close(value, plain[name].detach(), rtol=1e-4, atol=1e-5)


def test_crystals_have_no_dipole() -> None:
    boxed = water().replace(cell=9.0 * torch.eye(3, dtype=torch.float64)[None], pbc=torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(GroundstateError, match=r"E-PROPERTY-UNDEFINED.*dipole"):
        dipole(boxed)
