"""Models behind the pipe: what they answer, what they refuse, and what they are called."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from ase.build import bulk, fcc111, molecule

from groundstate import zoo
from groundstate.api import load, predict
from groundstate.atoms import ModelError, OptionError, RunError, System
from groundstate.data import from_ase
from groundstate.external import ExternalPotential, Worker
from groundstate.potentials import evaluate
from groundstate.zoo import foreign, installing
from groundstate.zoo.catalogue import Card
from groundstate.zoo.families import DRIVER, DRIVERS
from toy_family import WEIGHTS, offer, record


@pytest.fixture
def spring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExternalPotential]:
    card = Card.from_dict(record())
    offer(monkeypatch, tmp_path, card)
    brought = tmp_path / "brought"
    brought.write_bytes(WEIGHTS)
    installing.install("spring", python=sys.executable, offline_file=brought)
    potential = foreign.external_model(card)
    potential.worker.timeout_s = 2.0
    yield potential
    potential.worker.stop()


def pair(number: int = 6, charge: float | None = None) -> System:
    return System.single([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]], [number, 8], charge=charge)


def test_answers_and_elements_come_from_the_other_side(spring: ExternalPotential) -> None:
    found = evaluate(spring, pair(), ("energy", "forces", "charges"))
    assert float(found["energy"]) == pytest.approx(2.5)
    assert found["forces"][0].tolist() == pytest.approx([2.5, 0.0, 0.0])
    assert spring.domain.elements == frozenset({1, 2, 3, 4, 6, 8})
    assert spring.worker.facts["spring"] == "1.0"
    assert spring.fingerprint().startswith("spring@")


def test_charge_reaches_a_model_that_sees_it(spring: ExternalPotential) -> None:
    found = evaluate(spring, pair(charge=1.0), ("energy", "charges"))
    assert float(found["energy"]) == pytest.approx(3.5)
    assert found["charges"].tolist() == pytest.approx([0.5, 0.5])


def test_one_bad_structure_marks_itself(spring: ExternalPotential) -> None:
    results = predict([pair(), pair(2), pair(79), pair(3), pair(4), pair(1)], spring, ("energy",))
    codes = [None if result.problem is None else result.problem.code for result in results]
    assert codes == [
        None,
        "E-EXTERNAL-FAILED",
        "E-ELEMENT-UNSUPPORTED",
        "E-EXTERNAL-DIED",
        "E-EXTERNAL-TIMEOUT",
        None,
    ]
    assert float(results[5].values["energy"]) == pytest.approx(2.5)


def test_a_precision_it_does_not_have_is_refused(spring: ExternalPotential) -> None:
    with pytest.raises(OptionError, match="float64") as refusal:
        foreign.external_model(Card.from_dict(record()), "float32")
    assert refusal.value.code == "E-PRECISION"


def test_a_model_that_is_not_installed_says_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card.from_dict(record())
    offer(monkeypatch, tmp_path, card)
    with pytest.raises(RunError, match="groundstate models install toy") as refusal:
        foreign.external_model(card)
    assert refusal.value.code == "E-ENVIRONMENT-MISSING"


def test_direct_forces_are_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card.from_dict(record(conservative=False))
    offer(monkeypatch, tmp_path, card)
    brought = tmp_path / "brought"
    brought.write_bytes(WEIGHTS)
    installing.install("spring", python=sys.executable, offline_file=brought)
    assert not foreign.external_model(card).conservative
    assert zoo.resolve("spring").as_dict()["conservative"] is False


def test_any_ase_calculator_by_name() -> None:
    loaded = load("ase:ase.calculators.lj:LennardJones?sigma=2.2&epsilon=0.1&rc=6.0&smooth=true")
    atoms = bulk("Cu", cubic=True)
    from ase.calculators.lj import LennardJones

    atoms.calc = LennardJones(sigma=2.2, epsilon=0.1, rc=6.0, smooth=True)
    found = evaluate(loaded.potential, from_ase(atoms), ("energy", "stress"))
    assert float(found["energy"]) == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
    assert found["stress"][0].numpy() == pytest.approx(atoms.get_stress(voigt=False), abs=1e-12)
    loaded.potential.worker.stop()
    with pytest.raises(OptionError, match="E-MODEL-ASE"):
        load("ase:ase.calculators.lj")


def test_every_family_has_the_file_that_makes_its_calculators() -> None:
    assert DRIVER.is_file()
    for name, family in zoo.families().items():
        assert family.maker.is_file(), name
        assert family.packages
    assert {card.family for card in zoo.cards().values()} - {"chgnet", "groundstate"} <= set(zoo.families())
    makers = {path.stem for path in DRIVERS.glob("*.py")} - {"__init__", "calculator"}
    assert makers == set(zoo.families())


@pytest.mark.parametrize("name", sorted({*zoo.families()}))
def test_a_driver_without_its_package_refuses_to_start(name: str) -> None:
    """Under an interpreter that lacks the package; where this one has it, the driver asks for its file instead."""
    settings = {"maker": str(zoo.family(name).maker), "file": "/nowhere", "precision": "float32", "device": "cpu"}
    if name == "chgnet_authors":
        pytest.skip("chgnet is installed here and brings its weights")
    with Worker(DRIVER, settings, name=name) as worker, pytest.raises(RunError) as refusal:
        _ = worker.facts
    assert refusal.value.code == "E-EXTERNAL-START"
    assert name in str(refusal.value)


@pytest.fixture(scope="module")
def sevennet() -> Iterator[ExternalPotential]:
    if not zoo.state(zoo.resolve("7net-0")).ready:
        pytest.skip("7net-0 is not installed here: groundstate models install 7net-0")
    potential = zoo.load("7net-0")
    assert isinstance(potential, ExternalPotential)
    yield potential
    potential.worker.stop()


def test_sevennet_is_itself_and_its_forces_are_derivatives(sevennet: ExternalPotential) -> None:
    assert sevennet.fingerprint() == zoo.recorded_as("7net-0")["float32"]
    assert zoo.resolve("7net-0").elements == frozenset(sevennet.worker.facts["elements"])
    atoms = bulk("MgO", "rocksalt", a=4.21, cubic=True)
    atoms.rattle(0.1, seed=0)
    system = from_ase(atoms)
    found = evaluate(sevennet, system, ("energy", "energies", "forces", "stress"))
    assert float(found["energies"].sum()) == pytest.approx(float(found["energy"]), abs=1e-4)
    step = 5e-3
    moved = [system.positions.clone(), system.positions.clone()]
    moved[0][0, 0] += step
    moved[1][0, 0] -= step
    up, down = evaluate(sevennet, System.batch([system.replace(positions=p) for p in moved]), ("energy",))["energy"]
    assert -(float(up) - float(down)) / (2 * step) == pytest.approx(float(found["forces"][0, 0]), abs=5e-3)


def test_sevennet_knows_open_boundaries(sevennet: ExternalPotential) -> None:
    water = from_ase(molecule("H2O"))
    placed = water.replace(cell=30 * torch.eye(3, dtype=torch.float64)[None], pbc=torch.ones(1, 3, dtype=torch.bool))
    energies = evaluate(sevennet, System.batch([water, placed]), ("energy",))["energy"]
    assert float(energies[0]) == pytest.approx(float(energies[1]), abs=1e-4)
    assert not os.environ.get("OFFLINE") or sevennet.worker.facts


def test_weights_of_another_model_are_not_loaded_by_name() -> None:
    with pytest.raises(ModelError, match="7net-0"):
        zoo.load("7net")


@pytest.mark.usefixtures("needs_chgnet")
def test_chgnet_by_its_authors_in_another_process_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way through the pipe against our own network, a slab with an open boundary among the structures."""
    monkeypatch.setenv("GROUNDSTATE_CHGNET_AUTHORS_PYTHON", sys.executable)
    theirs, ours = zoo.load("chgnet-authors"), zoo.load("chgnet")
    assert isinstance(theirs, ExternalPotential)
    crystal = bulk("MgO", "rocksalt", a=4.21)
    crystal.rattle(0.1, seed=0)
    slab = fcc111("Cu", (1, 1, 3), vacuum=6.0)
    slab.pbc = (True, True, False)
    slab.rattle(0.1, seed=1)
    batch = System.batch([from_ase(crystal), from_ase(slab)])
    want = ("energy", "energies", "forces", "stress", "magnetic_moments")
    found, expected = evaluate(theirs, batch, want), evaluate(ours, batch, want)
    theirs.worker.stop()
    for name in want:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=2e-4)
