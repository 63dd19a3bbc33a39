"""The network of CHGNet 0.3.0 over our geometry: one batch of tensors, whatever the number of structures.

Atoms x, bonds b (unordered pairs within 6 Å, one feature for both directions) and angles a (ordered pairs of bonds within
3 Å that share an atom) exchange gated messages. Written here rather than called in the authors' package for three reasons:
its graph is built one structure and one edge at a time, it takes float32 positions, and the first linear map of each
message can be taken where its inputs live (on atoms and bonds, not on each direction of each pair), which saves most of
the arithmetic.
Source: Deng et al., Nat. Mach. Intell. 5, 1031 (2023), Methods. Checked against the authors' calculator:
tests/zoo/test_chgnet.py
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi, sqrt

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from groundstate.atoms import Edges

ATOM_CUTOFF = 6.0
BOND_CUTOFF = 3.0
_ENVELOPE = 8
_LAYERS = 4


@dataclass(frozen=True, eq=False)
class BondGraph:
    """Unordered pairs of a batch and the angles between the short ones.

    first, second    the two atoms of each bond; `distances` Å
    short            indices of the bonds that take part in angles
    angle_atom       the atom at the vertex of each angle
    angle_left/right positions in `short` of its two bonds; both orders of a pair of bonds are present
    angles           rad
    """

    first: Int[Tensor, " bond"]
    second: Int[Tensor, " bond"]
    distances: Float[Tensor, " bond"]
    short: Int[Tensor, " short"]
    angle_atom: Int[Tensor, " angle"]
    angle_left: Int[Tensor, " angle"]
    angle_right: Int[Tensor, " angle"]
    angles: Float[Tensor, " angle"]

    @classmethod
    def of(cls, edges: Edges) -> "BondGraph":
        """Bonds and angles of a set of edges, without a loop over structures, bonds or angles."""
        n_edges = edges.receivers.shape[0]
        one_way = (torch.arange(n_edges, device=edges.reverse.device) < edges.reverse).nonzero()[:, 0]
        bond_of_edge = torch.empty_like(edges.reverse)
        bonds = torch.arange(len(one_way), device=one_way.device)
        bond_of_edge[one_way] = bonds
        bond_of_edge[edges.reverse[one_way]] = bonds
        distances = edges.distances[one_way]
        is_short = distances.detach() < BOND_CUTOFF
        short = is_short.nonzero()[:, 0]
        short_of_bond = is_short.cumsum(0) - 1

        # Directed short edges stay sorted by receiver, so the partners of each are one contiguous run.
        arms = is_short[bond_of_edge].nonzero()[:, 0]
        vertex = edges.receivers[arms]
        per_atom = torch.bincount(vertex, minlength=edges.receiver_ptr.shape[0] - 1)
        start = (per_atom.cumsum(0) - per_atom)[vertex]
        partners = per_atom[vertex]
        left = torch.repeat_interleave(torch.arange(len(arms), device=arms.device), partners)
        offset = torch.arange(len(left), device=arms.device) - (partners.cumsum(0) - partners)[left]
        right = start[left] + offset
        different = (left != right).nonzero()[:, 0]
        left, right = left[different], right[different]

        directions = edges.vectors[arms] / edges.distances[arms, None]
        cosines = (directions[left] * directions[right]).sum(1)
        position = short_of_bond[bond_of_edge[arms]]
        return cls(
            first=edges.receivers[one_way],
            second=edges.senders[one_way],
            distances=distances,
            short=short,
            angle_atom=vertex[left],
            angle_left=position[left],
            angle_right=position[right],
            # The factor keeps the slope of the arc cosine finite for straight angles; the weights were trained with it.
            angles=torch.acos(cosines * (1 - 1e-6)),
        )


@dataclass(frozen=True, eq=False)
class Gate:
    """silu(LN(core)) · sigmoid(LN(gate)), core and gate two perceptrons side by side.

    `first` holds one matrix per input, so that each is applied where that input lives; `second` is `None` for a single
    layer.
    """

    first: tuple[Tensor, ...]
    bias: Tensor
    second: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None
    norms: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]

    @classmethod
    def read(cls, weights: Mapping[str, Tensor], name: str, inputs: int) -> "Gate":
        """From the published names; `inputs` features are concatenated in the published first layer."""
        halves = [f"{name}.mlp_core.layers", f"{name}.mlp_gate.layers"]
        deep = f"{halves[0]}.3.weight" in weights
        entry = "0" if deep else "1"
        matrix = torch.cat([weights[f"{half}.{entry}.weight"] for half in halves])
        second = [(weights[f"{half}.3.weight"], weights[f"{half}.3.bias"]) for half in halves] if deep else None
        norms = [(weights[f"{name}.{bn}.weight"], weights[f"{name}.{bn}.bias"]) for bn in ("bn1", "bn2")]
        return cls(
            first=tuple(part.contiguous() for part in matrix.chunk(inputs, dim=1)),
            bias=torch.cat([weights[f"{half}.{entry}.bias"] for half in halves]),
            second=None if second is None else (second[0], second[1]),
            norms=(norms[0], norms[1]),
        )

    def __call__(self, mixed: Tensor) -> Tensor:
        """The message of the already mixed inputs `[..., core | gate]`."""
        if self.second is not None:
            core, gate = F.silu(mixed).chunk(2, dim=-1)
            core, gate = F.linear(core, *self.second[0]), F.linear(gate, *self.second[1])
        else:
            core, gate = mixed.chunk(2, dim=-1)
        core = F.layer_norm(core, core.shape[-1:], *self.norms[0])
        gate = F.layer_norm(gate, gate.shape[-1:], *self.norms[1])
        return F.silu(core) * torch.sigmoid(gate)


class Network:
    """Frozen parameters and the forward pass; immutable, one per device and precision."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self.weights = dict(weights)
        self.atom_gates = [Gate.read(weights, f"atom_conv_layers.{n}.twoBody_atom", 3) for n in range(_LAYERS)]
        self.bond_gates = [Gate.read(weights, f"bond_conv_layers.{n}.twoBody_bond", 4) for n in range(_LAYERS - 1)]
        self.angle_gates = [Gate.read(weights, f"angle_layers.{n}.twoBody_bond", 4) for n in range(_LAYERS - 2)]

    def __call__(self, numbers: Tensor, graph: BondGraph) -> tuple[Tensor, Tensor]:
        w = self.weights
        dtype = w["site_wise.weight"].dtype
        x = w["atom_embedding.embedding.weight"][numbers - 1]
        distances = graph.distances.to(dtype)
        radial = _radial(distances, w["bond_basis_expansion.rbf_expansion_ag.frequencies"], ATOM_CUTOFF)
        b = F.linear(radial, w["bond_embedding.weight"])
        atom_weight = F.linear(radial, w["bond_weights_ag.weight"])
        radial = _radial(distances[graph.short], w["bond_basis_expansion.rbf_expansion_bg.frequencies"], BOND_CUTOFF)
        bond_weight = F.linear(radial, w["bond_weights_bg.weight"])
        a = F.linear(_fourier(graph.angles.to(dtype), w["angle_basis_expansion.fourier_expansion.frequencies"]), w["angle_embedding.weight"])
        angle_weight = bond_weight[graph.angle_left] * bond_weight[graph.angle_right]
        moments = x.new_zeros(0)
        for n in range(_LAYERS):
            if n == _LAYERS - 1:
                moments = F.linear(x, w["site_wise.weight"], w["site_wise.bias"])[:, 0].abs()
            x = x + F.linear(self.atom_conv(n, x, b, atom_weight, graph), w[f"atom_conv_layers.{n}.mlp_out.layers.1.weight"])
            if n < _LAYERS - 1:
                s = b[graph.short]
                message = self.bond_gates[n](self.mix(self.bond_gates[n], s, a, x, graph)) * angle_weight
                agg = torch.zeros_like(s).index_add(0, graph.angle_left, message)
                b = b.index_add(0, graph.short, F.linear(agg, w[f"bond_conv_layers.{n}.mlp_out.layers.1.weight"]))
            if n < _LAYERS - 2:
                a = a + self.angle_gates[n](self.mix(self.angle_gates[n], b[graph.short], a, x, graph))
        x = F.layer_norm(x, x.shape[-1:], w["readout_norm.weight"], w["readout_norm.bias"])
        for layer in (0, 2, 4):
            x = F.silu(F.linear(x, w[f"mlp.layers.{layer}.weight"], w[f"mlp.layers.{layer}.bias"]))
        energies = F.linear(x, w["mlp.layers.7.weight"], w["mlp.layers.7.bias"])[:, 0]
        return energies, moments

    def atom_conv(self, n, x, b, weight, graph):
        gate = self.atom_gates[n]
        center, bond, neighbour = gate.first
        as_center, as_neighbour = F.linear(x, center), F.linear(x, neighbour)
        of_bond = F.linear(b, bond, gate.bias)
        mixed = torch.stack([as_center[graph.first] + as_neighbour[graph.second], as_center[graph.second] + as_neighbour[graph.first]]) + of_bond
        message = gate(mixed) * weight
        return torch.zeros_like(x).index_add(0, graph.first, message[0]).index_add(0, graph.second, message[1])

    def mix(self, gate, s, a, x, graph):
        left, right, angle, center = gate.first
        return F.linear(s, left)[graph.angle_left] + F.linear(s, right)[graph.angle_right] + F.linear(a, angle, gate.bias) + F.linear(x, center)[graph.angle_atom]


def _radial(distances: Tensor, frequencies: Tensor, cutoff: float) -> Tensor:
    d = distances[:, None]
    x = d / cutoff
    p = _ENVELOPE
    envelope = 1 - x**p * ((p + 1) * (p + 2) / 2 - p * (p + 2) * x + p * (p + 1) / 2 * x**2)
    return sqrt(2 / cutoff) * envelope * torch.sin(frequencies * x) / d


def _fourier(angles: Tensor, frequencies: Tensor) -> Tensor:
    phases = angles[:, None] * frequencies
    constant = torch.full_like(angles[:, None], 1 / sqrt(2))
    return torch.cat([constant, torch.sin(phases), torch.cos(phases)], dim=1) / sqrt(pi)
