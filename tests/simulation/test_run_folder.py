"""A run folder keeps strangers, other settings and second processes out, and forgets what was cut short."""

import json

import pytest
import torch

from groundstate.atoms import DataError, RunError, System
from groundstate.data.files import write_whole
from groundstate.simulation.frames import frame_text, read_frame
from groundstate.simulation.outputs import identity, input_keys, run_folder

ASKED = identity("relax", "toy@1", {"cell": "full", "limits": {"a": 1.0}})


def test_what_is_appended_and_committed_is_there_again(tmp_path):
    with run_folder(tmp_path / "run", ASKED) as run:
        places = [run.append("converged.extxyz", text) for text in ("first\n", "second\n")]
        for n, place in enumerate(places):
            run.commit({"key": n, "frame": place})
    with run_folder(tmp_path / "run", ASKED) as run:
        assert [run.frame(line["frame"]) for line in run.lines] == ["first\n", "second\n"]


def test_a_cut_line_and_a_frame_without_a_line_are_dropped(tmp_path):
    path = tmp_path / "run"
    with run_folder(path, ASKED) as run:
        run.commit({"key": 1, "frame": run.append("converged.extxyz", "first\n")})
        run.append("converged.extxyz", "half a fra")
        run.append("not_converged.extxyz", "never committed")
        with run.results.open("ab") as file:
            file.write(b'{"key": 2, "fra')
    with run_folder(path, ASKED) as run:
        assert [line["key"] for line in run.lines] == [1]
    assert (path / "converged.extxyz").read_text() == "first\n"
    assert (path / "not_converged.extxyz").read_text() == ""


def test_other_settings_are_refused_and_named(tmp_path):
    with run_folder(tmp_path, ASKED):
        pass
    other = identity("relax", "toy@2", {"cell": "full", "limits": {"a": 2.0}})
    with pytest.raises(RunError, match="E-RUN-MISMATCH") as refusal, run_folder(tmp_path, other):
        pass
    assert "potential was 'toy@1', now 'toy@2'" in str(refusal.value)
    assert "config.limits.a was 1.0, now 2.0" in str(refusal.value)


def test_a_newer_package_may_continue(tmp_path):
    with run_folder(tmp_path, ASKED | {"version": "0.0.1"}):
        pass
    with run_folder(tmp_path, ASKED) as run:
        assert run.lines == []


def test_a_folder_in_use_is_refused_and_free_again_afterwards(tmp_path):
    with run_folder(tmp_path, ASKED):
        with pytest.raises(RunError, match="E-RUN-LOCKED") as refusal, run_folder(tmp_path, ASKED):
            pass
        assert "process" in str(refusal.value)
    with run_folder(tmp_path, ASKED):
        pass


def test_foreign_files_are_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="E-OUTPUT-EXISTS"), run_folder(tmp_path, ASKED):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="E-OUTPUT-UNWRITABLE"), run_folder(tmp_path / "file" / "run", ASKED):
        pass


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "state"
    write_whole(path, b"old")

    def disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    with pytest.raises(RunError, match=r"E-WRITE.*No space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"


def test_keys_tell_structures_and_fixed_atoms_apart(crystal):
    none = torch.zeros(4, dtype=torch.bool)
    first = input_keys(crystal(1), none)[0]
    twice = input_keys(System.batch([crystal(1), crystal(2), crystal(1)]), torch.cat([none] * 3))
    assert len(set(twice)) == 3
    assert twice[0] == first
    charged = crystal(1).replace(charge=torch.tensor([1.0], dtype=torch.float64))
    assert len({first, *input_keys(charged, none), *input_keys(crystal(1), none.clone().fill_(True))}) == 3


@pytest.mark.parametrize("structure", ["sheared", "slab", "molecule"])
def test_frames_keep_every_bit(structure, request):
    system = request.getfixturevalue(structure)
    forces = torch.randn(system.n_atoms, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    text = frame_text(system, {"forces": forces}, {"status": 'a "quoted" word', "energy": -1 / 3})
    again, (read,) = read_frame(text, system.replace(positions=torch.zeros_like(system.positions)))
    assert torch.equal(again.positions, system.positions)
    assert torch.equal(again.cell, system.cell)
    assert torch.equal(read, forces)
    with pytest.raises(DataError, match="E-FRAME"):
        read_frame(text, System.batch([system, system]))


def test_frames_are_read_by_ase(tmp_path, slab):
    import ase.io

    system = slab.replace(charge=torch.tensor([2.0], dtype=torch.float64), multiplicity=torch.tensor([3]))
    forces = torch.ones(slab.n_atoms, 3, dtype=torch.float64)
    path = tmp_path / "frame.extxyz"
    path.write_text(frame_text(system, {"forces": forces}, {"energy": -2.5, "status": "converged"}) * 2)
    frames = ase.io.read(path, ":")
    assert len(frames) == 2
    assert frames[0].get_potential_energy() == -2.5
    assert frames[0].get_forces().tolist() == forces.tolist()
    assert frames[0].pbc.tolist() == [True, True, False]
    assert frames[0].cell.array.tolist() == slab.cell[0].tolist()
    assert (frames[0].info["status"], frames[0].info["charge"], frames[0].info["spin"]) == ("converged", 2.0, 3)


def test_results_are_strict_json(tmp_path):
    with run_folder(tmp_path, ASKED) as run, pytest.raises(ValueError, match="JSON"):
        run.commit({"energy": float("nan")})
    assert json.loads((tmp_path / "run.json").read_text()) == ASKED
