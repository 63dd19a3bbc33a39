"""Networks with random weights, and public models, before the laws. Random weights promise nothing about repulsion."""

from dataclasses import replace

import pytest

from groundstate.laws import LAWS, examine, precision_of, prepare
from groundstate.potentials import Model
from groundstate.potentials.mace import MACEConfig, build

ELEMENTS = (1, 8, 14)
SMALL = MACEConfig(
    channels=4, lmax=2, hidden_lmax=1, layers=2, cutoff=4.0, radial_basis=4, radial_widths=(8,), dtype="float64"
)
SHAPES = {
    "equivariant": SMALL,
    "invariant": replace(SMALL, hidden_lmax=0, distance_transform="linear", fade_at_contact=False),
    "four-body, conditioned": replace(SMALL, channels=2, correlation=3, charge="accepts", multiplicity="needs"),
    "single precision": replace(SMALL, layers=1, dtype="float32"),
}
STATIC = [law for law in LAWS if not law.startswith("nve") and law != "repulsion"]


def mace(config: MACEConfig) -> Model:
    references = {1: -13.6, 8: -432.1, 14: -7873.0}
    return build(config, elements=ELEMENTS, reference_energies=[references], seed=5)


@pytest.mark.parametrize("shape", SHAPES)
def test_mace_obeys_every_static_law(shape: str) -> None:
    results = examine(mace(SHAPES[shape]), laws=STATIC, elements=ELEMENTS)
    assert all(result.passed for result in results), [r for r in results if not r.passed]


@pytest.mark.parametrize("shape", ["single precision", pytest.param("equivariant", marks=pytest.mark.slow)])
def test_mace_conserves_energy(shape: str) -> None:
    results = examine(mace(SHAPES[shape]), laws=["nve_order", "nve_drift"], elements=(8, 14))
    assert all(result.passed for result in results), results


def test_precision_is_told_from_the_parameters() -> None:
    names = {}
    for shape in ("equivariant", "single precision"):
        potential = mace(SHAPES[shape])
        names[shape] = precision_of(potential, prepare(potential)).name
    assert names == {"equivariant": "float64", "single precision": "float32"}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_chgnet_obeys_every_static_law_but_repulsion(precision: str) -> None:
    zoo = pytest.importorskip("groundstate.zoo", reason="the public models are not installed")
    pytest.importorskip("chgnet", reason="the package with CHGNet's weights is not installed")
    potential = zoo.load("chgnet", precision=precision)
    assert precision_of(potential, prepare(potential)).name == precision
    # Its trajectories take minutes; `benchmarks/laws_table.py` runs them.
    results = examine(potential, laws=[*STATIC, "repulsion"], elements=[14, 8])
    # Holes at contact are known of CHGNet: it has no repulsive core and saw no compressed pair.
    assert [result.law for result in results if not result.passed] == ["repulsion"]
