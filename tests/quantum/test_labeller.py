"""Labels in order, failures with their reason, nothing computed twice."""

import pytest
import torch

from groundstate.atoms import LevelOfTheory, OptionError, RunError, System
from groundstate.data import Labeller, read, write
from groundstate.quantum import Reference, check_convergence
from quantum.toy_engine import Springs, atom


@pytest.fixture
def engine(tmp_path):
    folder = tmp_path / "engine"
    folder.mkdir()
    return Springs(str(folder))


def test_labels_come_in_order_with_their_theory_and_a_failure_harms_nobody(engine, tmp_path):
    structures = [atom(0.5), atom(0.6, 9), atom(0.7, 10), atom(0.8), atom(0.9, charge=1.0)]
    said = []
    with Reference(engine, folder=tmp_path / "labels", processes=2) as reference:
        labels = reference.compute(structures, lambda *step: said.append(step))
        assert reference.theory == LevelOfTheory("springs", code="springs 1.0")
    assert [None if one.problem is None else one.problem.code for one in labels] == [
        None,
        "E-SCF-NOT-CONVERGED",
        "E-EXTERNAL-DIED",
        None,
        "E-CHARGE-IGNORED",
    ]
    assert float(labels[3].values["energy"]) == pytest.approx(0.64)
    assert "stress" not in labels[0].values, "a molecule has none"
    assert torch.equal(labels[0].values["forces"], torch.tensor([[-1.0, 0.0, 0.0]], dtype=torch.float64))
    assert "oscillates" in str(labels[1].problem)
    assert said[-1][:2] == (4, 4)
    assert labels[1].as_record().labels == {}
    assert "E-SCF-NOT-CONVERGED" in labels[1].as_record().provenance.tags["label_failed"]


def test_the_protocol_of_labellers_and_files(engine, tmp_path):
    crystal = System.single([[0.1, 0, 0]], [3], cell=4 * torch.eye(3), pbc=True)
    with Reference(engine) as reference:
        labeller: Labeller = reference
        (record,) = labeller.label(crystal)
    write(tmp_path / "labels.extxyz", [record])
    (again,) = read(tmp_path / "labels.extxyz").records
    assert again.theory == reference.theory
    assert all(torch.equal(again.labels[name], value) for name, value in record.labels.items())
    assert set(again.labels) == {"energy", "forces", "stress"}


def test_nothing_is_computed_twice_and_another_setting_never_meets_an_old_number(engine, tmp_path):
    structures = [atom(0.1), atom(0.2), atom(0.1), atom(0.3, 9)]
    for _ in range(2):
        with Reference(engine, folder=tmp_path / "labels") as reference:
            labels = reference.compute(structures)
    assert engine.computed() == ["0.100000", "0.200000", "0.300000"]
    assert [one.known for one in labels] == [True] * 4
    assert labels[3].problem.code == "E-SCF-NOT-CONVERGED"
    with Reference(engine, folder=tmp_path / "labels", retry=True) as reference:
        reference.compute(structures)
    assert engine.computed()[3:] == ["0.300000"]
    stiffer = Springs(engine.folder, stiffness=4.0)
    with Reference(stiffer, folder=tmp_path / "labels") as reference:
        (label,) = reference.compute([atom(0.1)])
    assert not label.known
    assert float(label.values["energy"]) == pytest.approx(0.02)


def test_what_was_killed_is_tried_again(engine, tmp_path):
    for _ in range(2):
        with Reference(engine, folder=tmp_path / "labels") as reference:
            (label,) = reference.compute([atom(0.1, 10)])
    assert label.problem.code == "E-EXTERNAL-DIED"
    assert len(engine.computed()) == 2


def test_refusals(engine, tmp_path):
    with pytest.raises(OptionError, match=r"E-PROPERTY-UNDEFINED.*forces"):
        Reference(engine, want=("force",))
    with Reference(engine) as reference:
        (label,) = reference.compute([atom(0.1, 1, multiplicity=1)])
    assert label.problem.code == "E-SPIN-PARITY"
    with Reference(engine, want=("stress",)) as reference:
        (label,) = reference.compute([atom(0.1)])
    assert label.problem.code == "E-PROPERTY-UNDEFINED"
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.tex").touch()
    with Reference(engine, folder=folder) as reference, pytest.raises(RunError, match=r"E-OUTPUT-EXISTS.*thesis"):
        reference.compute([atom(0.1)])


def test_convergence_says_how_far_a_number_moves(engine):
    (shift,) = check_convergence(engine, System.single([[1.0, 0, 0]], [3], cell=4 * torch.eye(3), pbc=True))
    assert shift.improved == "stiffer"
    assert shift.energy_meV == pytest.approx(100.0)
    assert shift.force_max == pytest.approx(0.2)
    assert shift.stress_max_GPa == 0.0
    assert not shift.within()
    assert shift.within(energy_meV=101.0, force=0.21)
