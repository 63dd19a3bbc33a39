"""Trajectories come back from folders and files as they were written, or with a reason."""

import pytest
import torch
from ase import Atoms
from ase.io import write

from groundstate.atoms import DataError, UndefinedPropertyError
from groundstate.simulation import MDConfig, run_md
from groundstate.simulation.analysis import msd, read_trajectory, vacf


def test_a_run_folder_is_read_with_velocities_and_times(potential, crystal, tmp_path):
    config = MDConfig(steps=12, timestep_fs=2.0, temperature_K=300.0, trajectory_every=3)
    (result,) = run_md(crystal(1), potential, config, output=tmp_path)
    trajectory = read_trajectory(tmp_path)
    assert trajectory.time_fs.tolist() == [0, 6, 12, 18, 24]
    assert trajectory.interval_fs == 6
    assert trajectory.numbers.tolist() == [29] * 4
    assert torch.equal(trajectory.positions[-1], result.system.positions)
    assert torch.equal(trajectory.velocities[-1], result.velocities)
    assert torch.equal(trajectory.cells[0], result.system.cell[0])
    assert bool(trajectory.pbc.all())
    assert trajectory.part(1, 3).n_frames == 2
    with pytest.raises(DataError, match="E-FILE-MISSING"):
        read_trajectory(tmp_path, structure=3)


@pytest.fixture
def walk():
    """An atom that crosses the boundary of its cell beside one that stays, as ASE writes it."""
    frames = []
    for k in range(6):
        atoms = Atoms("ArNe", [[0.5 + 0.9 * k, 0, 0], [2, 2, 2]], cell=[4, 4, 4], pbc=True, info={"time_fs": 2.0 * k})
        atoms.wrap()
        frames.append(atoms)
    return frames


def test_folded_atoms_are_refused_or_followed(walk, tmp_path):
    write(tmp_path / "walk.extxyz", walk)
    with pytest.raises(DataError, match=r"E-TRAJECTORY-WRAPPED.*frame 4"):
        read_trajectory(tmp_path / "walk.extxyz")
    trajectory = read_trajectory(tmp_path / "walk.extxyz", unwrap=True)
    torch.testing.assert_close(trajectory.positions[:, 0, 0], 0.5 + 0.9 * torch.arange(6, dtype=torch.float64))
    with pytest.raises(UndefinedPropertyError, match="E-TRAJECTORY-VELOCITIES"):
        vacf(trajectory)


def test_missing_times_other_atoms_and_cut_files_are_refused(walk, tmp_path):
    file = tmp_path / "walk.extxyz"
    for atoms in walk:
        del atoms.info["time_fs"]
    write(file, walk[:4])
    with pytest.raises(DataError, match=r"E-TRAJECTORY-TIMES.*interval_fs"):
        read_trajectory(file)
    assert read_trajectory(file, interval_fs=5.0).time_fs.tolist() == [0, 5, 10, 15]
    file.write_text(file.read_text()[:-30])
    with pytest.raises(DataError, match=r"E-TRAJECTORY-FORMAT.*frame 3"):
        read_trajectory(file, interval_fs=5.0)
    write(file, [walk[0], walk[1][::-1]])
    with pytest.raises(DataError, match="E-TRAJECTORY-ATOMS"):
        read_trajectory(file, interval_fs=5.0)
    file.write_text("")
    with pytest.raises(DataError, match="E-TRAJECTORY-SHORT"):
        read_trajectory(file)


def test_uneven_times_and_moving_cells_are_refused_where_they_matter(walk, tmp_path):
    for k, atoms in enumerate(walk[:4]):
        atoms.info["time_fs"] = float(k**2)
        atoms.set_cell([4 + 0.01 * k] * 3)
    write(tmp_path / "uneven.extxyz", walk[:4])
    trajectory = read_trajectory(tmp_path / "uneven.extxyz")
    with pytest.raises(DataError, match="E-TRAJECTORY-TIMES"):
        _ = trajectory.interval_fs
    with pytest.raises(UndefinedPropertyError, match="E-TRAJECTORY-CELL"):
        msd(trajectory)
