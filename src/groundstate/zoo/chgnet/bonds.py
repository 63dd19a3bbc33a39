"""Bonds and angles of a batch, made from its edges without a loop over structures, bonds or angles."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groundstate.atoms import Edges


@dataclass(frozen=True, eq=False)
class Bonds:
    """Unordered pairs of atoms, periodic images told apart, and the angles between the short ones.

    first, second   the two atoms of each bond, which share its features · distances Å
    short           the bonds closer than `reach`, as indices of bonds
    vertex          the atom at the corner of each angle
    left, right     the angle's two bonds, as indices into `short`; both orders of every two bonds are present
    angles          rad, in (0, π)
    """

    first: Int[Tensor, " bond"]
    second: Int[Tensor, " bond"]
    distances: Float[Tensor, " bond"]
    short: Int[Tensor, " short"]
    vertex: Int[Tensor, " angle"]
    left: Int[Tensor, " angle"]
    right: Int[Tensor, " angle"]
    angles: Float[Tensor, " angle"]

    @classmethod
    def of(cls, edges: Edges, reach: float) -> "Bonds":
        """All bonds among the edges, and the angles between bonds closer than `reach` (Å)."""
        edge = torch.arange(edges.reverse.shape[0], device=edges.reverse.device)
        one_way = (edge < edges.reverse).nonzero()[:, 0]
        bond_of_edge = torch.empty_like(edges.reverse)
        bond_of_edge[one_way] = bond_of_edge[edges.reverse[one_way]] = edge[: len(one_way)]
        distances = edges.distances.index_select(0, one_way)
        is_short = distances.detach() < reach

        # Edges are sorted by receiver, so the arms that meet at an atom are one contiguous run.
        arms = is_short[bond_of_edge].nonzero()[:, 0]
        vertex = edges.receivers[arms]
        meeting = torch.bincount(vertex, minlength=edges.receiver_ptr.shape[0] - 1)
        run_start, partners = (meeting.cumsum(0) - meeting)[vertex], meeting[vertex]
        left = torch.repeat_interleave(partners)
        place = torch.arange(len(left), device=left.device) - (partners.cumsum(0) - partners)[left]
        right = run_start[left] + place
        distinct = (left != right).nonzero()[:, 0]
        left, right = left[distinct], right[distinct]

        directions = edges.vectors.index_select(0, arms) / edges.distances.index_select(0, arms)[:, None]
        cosines = (directions.index_select(0, left) * directions.index_select(0, right)).sum(1)
        short_of_arm = (is_short.cumsum(0) - 1)[bond_of_edge[arms]]
        return cls(
            first=edges.receivers[one_way],
            second=edges.senders[one_way],
            distances=distances,
            short=is_short.nonzero()[:, 0],
            vertex=vertex[left],
            left=short_of_arm[left],
            right=short_of_arm[right],
            # The factor, which the weights were trained with, bounds the slope of the arc cosine at straight angles.
            angles=torch.acos(cosines * (1 - 1e-6)),
        )
