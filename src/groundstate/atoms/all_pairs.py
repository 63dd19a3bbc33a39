"""Neighbours of many small structures at once, on any device: every pair of atoms and images is tried.

A crystal of a dozen atoms has a few ten thousand candidates, which a GPU tries in less time than it takes to ask for
them; searched one by one on the host they would cost more than a model. Candidates are numbered by receiver, sender and
shift, the order of a `Graph`, so nothing is sorted, and the reverse of an edge is found by arithmetic.
Checked: tests/atoms/test_neighbours.py (the property suite of all methods).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groundstate.atoms.system import System


class Candidates(NamedTuple):
    """How many pairs there are to try. wrapped: positions inside their cells · wraps: cells they were moved by ·
    reach: images to try on either side · images: all of them · counts: candidates of each structure."""

    wrapped: Float[Tensor, "atom 3"]
    wraps: Int[Tensor, "atom 3"]
    reach: Int[Tensor, "system 3"]
    images: Int[Tensor, " system"]
    counts: Int[Tensor, " system"]


class Pairs(NamedTuple):
    """The fields of a `Graph`."""

    receivers: Int[Tensor, " edge"]
    senders: Int[Tensor, " edge"]
    shifts: Int[Tensor, "edge 3"]
    receiver_ptr: Int[Tensor, " boundary"]
    reverse: Int[Tensor, " edge"]


@torch.no_grad()
def candidates(system: System, cutoff: float) -> Candidates:
    """What `all_pairs` would have to try, for structures with periods in all directions."""
    cell, rows = system.cell.detach(), system.system_index
    inverse = torch.linalg.inv(cell)
    fractional = (system.positions.detach()[:, None, :] @ inverse[rows])[:, 0]
    wraps = fractional.floor()
    wrapped = system.positions.detach() - (wraps[:, None, :] @ cell[rows])[:, 0]
    # Fractional coordinates differ by less than 1, and planes of the lattice are 1/|column of the inverse| apart.
    reach = (cutoff * torch.linalg.vector_norm(inverse, dim=1)).floor().to(torch.int64) + 1
    images = (2 * reach + 1).prod(dim=1)
    return Candidates(wrapped, wraps.to(torch.int64), reach, images, system.atoms_per_system**2 * images)


@torch.no_grad()
def all_pairs(system: System, cutoff: float, tried: Candidates) -> Pairs:
    """Edges within `cutoff` (Å) among the candidates."""
    device, atoms = system.device, system.atoms_per_system
    first = tried.counts.cumsum(0) - tried.counts
    total = int(tried.counts.sum())
    owner = torch.repeat_interleave(torch.arange(len(atoms), device=device), tried.counts, output_size=total)
    number = torch.arange(total, device=device) - first[owner]
    images, start = tried.images[owner], system.system_ptr[:-1][owner]
    pair, image = number // images, number % images
    row, column = pair // atoms[owner], pair % atoms[owner]
    width = 2 * tried.reach[owner] + 1
    shift = torch.stack(
        [image // (width[:, 1] * width[:, 2]), image // width[:, 2] % width[:, 1], image % width[:, 2]], dim=1
    )
    shift = shift - tried.reach[owner]
    receivers, senders = start + row, start + column
    cell = system.cell.detach()[owner]
    # Summed so that the vector of the reverse is exactly the opposite: both edges are kept, or neither.
    translation = (shift.to(cell.dtype)[:, :, None] * cell).sum(dim=1)
    vectors = tried.wrapped[senders] - tried.wrapped[receivers] + translation
    itself = (row == column) & (shift == 0).all(dim=1)
    near = (vectors.square().sum(dim=1) < cutoff**2) & ~itself
    kept = near.nonzero()[:, 0]
    rank = near.cumsum(0) - 1
    opposite = first[owner] + (column * atoms[owner] + row) * images + (images - 1 - image)
    receivers, senders = receivers[kept], senders[kept]
    degree = torch.bincount(receivers, minlength=system.n_atoms)
    return Pairs(
        receivers=receivers,
        senders=senders,
        shifts=shift[kept] + tried.wraps[receivers] - tried.wraps[senders],
        receiver_ptr=torch.cat([degree.new_zeros(1), degree.cumsum(0)]),
        reverse=rank[opposite[kept]],
    )
