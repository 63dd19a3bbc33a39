"""Vacuum around open directions, for programs that know periodic cells only or mistreat open ones."""

import torch

from groundstate.atoms import System
from groundstate.atoms.neighbours import complete_cell


def boxed(system: System, vacuum: float) -> System:
    """The same atoms in fully periodic cells: each open direction gets a lattice vector normal to the periodic ones.

    vacuum   Å between the atoms and their images there. With at least the cutoff of a potential whose atoms see no
             further, energies and forces are those of the open structure exactly, and so is the strain gradient in its
             periodic subspace, the volume of the new cell times the stress.
    Checked: tests/external/test_boxes.py
    """
    if bool(system.pbc.all()):
        return system
    cells = []
    for single in system:
        cell = torch.from_numpy(complete_cell(single)).to(system.device)
        along = torch.linalg.solve(cell.T, single.positions.detach().T).T
        extent = along.amax(dim=0) - along.amin(dim=0)
        # Rows of open directions are unit vectors normal to the rest, so coordinates along them are lengths.
        length = torch.where(single.pbc[0], torch.ones(3, dtype=cell.dtype, device=cell.device), extent + vacuum)
        cells.append(length[:, None] * cell)
    return system.replace(cell=torch.stack(cells), pbc=torch.ones_like(system.pbc))
