"""The network of CHGNet over our geometry: one batch of tensors, whatever the number of structures.

Atoms, bonds (unordered pairs within 6 Å, one feature for both directions) and angles (ordered pairs of bonds within 3 Å
that meet at an atom) exchange gated messages: atoms hear from their bonds, bonds from their angles, angles from both.
Written here rather than called in the authors' package because that builds its graph one edge at a time in Python and
takes the first layer of every message on the message, where most of the arithmetic is repeated.
Source: Deng et al., Nat. Mach. Intell. 5, 1031 (2023), Methods. Checked against the authors' calculator:
tests/zoo/test_chgnet.py.
"""

from collections.abc import Mapping
from math import pi, sqrt

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import layer_norm, linear, silu

from groundstate.zoo.chgnet.bonds import Bonds
from groundstate.zoo.chgnet.messages import Gate, gated_sum

ATOM_CUTOFF = 6.0
"""Å; how far atoms hear of each other."""
BOND_CUTOFF = 3.0
"""Å; how far two bonds that meet make an angle."""
_ENVELOPE_POWER = 8
_ROUNDS = 4


class Network:
    """The published parameters on one device in one precision, and the pass through them. Immutable."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = dict(weights)
        self._atom_gates = [Gate.read(weights, f"atom_conv_layers.{n}.twoBody_atom", 3) for n in range(_ROUNDS)]
        self._bond_gates = [Gate.read(weights, f"bond_conv_layers.{n}.twoBody_bond", 4) for n in range(_ROUNDS - 1)]
        # The angles of the last round are read by nothing, so two updates do the work of the published three.
        self._angle_gates = [Gate.read(weights, f"angle_layers.{n}.twoBody_bond", 4) for n in range(_ROUNDS - 2)]

    def __call__(
        self, numbers: Int[Tensor, " atom"], bonds: Bonds
    ) -> tuple[Float[Tensor, " atom"], Float[Tensor, " atom"]]:
        """Energy of each atom above its reference (eV), and the size of its magnetic moment (μB)."""
        atom = self._weights["atom_embedding.embedding.weight"][numbers - 1]
        distances = bonds.distances.to(atom.dtype)
        near = self._radial("ag", distances, ATOM_CUTOFF)
        bond, atom_weight = self._linear("bond_embedding", near), self._linear("bond_weights_ag", near)
        short = self._radial("bg", distances.index_select(0, bonds.short), BOND_CUTOFF)
        bond_weight = self._linear("bond_weights_bg", short)
        angle_weight = bond_weight.index_select(0, bonds.left) * bond_weight.index_select(0, bonds.right)
        angle = self._linear("angle_embedding", self._angular(bonds.angles.to(atom.dtype)))
        for n in range(_ROUNDS - 1):
            atom = self._hear_bonds(n, atom, bond, atom_weight, bonds)
            bond = self._hear_angles(n, atom, bond, angle, angle_weight, bonds)
            if n < len(self._angle_gates):
                angle = angle + self._angle_messages(self._angle_gates[n], atom, bond, angle, bonds)
        moments = self._linear("site_wise", atom)[:, 0].abs()
        atom = self._hear_bonds(_ROUNDS - 1, atom, bond, atom_weight, bonds)
        x = layer_norm(atom, atom.shape[1:], self._weights["readout_norm.weight"], self._weights["readout_norm.bias"])
        for layer in (0, 2, 4):
            x = silu(self._linear(f"mlp.layers.{layer}", x))
        return self._linear("mlp.layers.7", x)[:, 0], moments

    def _hear_bonds(self, n: int, atom: Tensor, bond: Tensor, weight: Tensor, bonds: Bonds) -> Tensor:
        gate = self._atom_gates[n]
        hearer, heard = linear(atom, gate.first[0]), linear(atom, gate.first[2])
        rows = linear(bond, gate.first[1], gate.bias)
        total = torch.zeros_like(atom)
        for i, j in ((bonds.first, bonds.second), (bonds.second, bonds.first)):
            total = total + gated_sum(gate, [(hearer, i), (heard, j)], rows, weight, (i, len(atom)))
        return atom + self._linear(f"atom_conv_layers.{n}.mlp_out.layers.1", total)

    def _hear_angles(self, n: int, atom: Tensor, bond: Tensor, angle: Tensor, weight: Tensor, bonds: Bonds) -> Tensor:
        total = self._angle_messages(
            self._bond_gates[n], atom, bond, angle, bonds, weight, (bonds.left, len(bonds.short))
        )
        heard = self._linear(f"bond_conv_layers.{n}.mlp_out.layers.1", total)
        return bond.index_add(0, bonds.short, heard)

    def _angle_messages(
        self,
        gate: Gate,
        atom: Tensor,
        bond: Tensor,
        angle: Tensor,
        bonds: Bonds,
        weight: Tensor | None = None,
        target: tuple[Tensor, int] | None = None,
    ) -> Tensor:
        arm = bond.index_select(0, bonds.short)
        left, right, own, corner = gate.first
        gathered = [
            (linear(arm, left), bonds.left),
            (linear(arm, right), bonds.right),
            (linear(atom, corner), bonds.vertex),
        ]
        return gated_sum(gate, gathered, linear(angle, own, gate.bias), weight, target)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return linear(x, self._weights[f"{name}.weight"], self._weights.get(f"{name}.bias"))

    def _radial(self, graph: str, distances: Tensor, cutoff: float) -> Float[Tensor, "bond channel"]:
        """√(2/c) u(d/c) sin(f_k d/c)/d with u = 1 − (p+1)(p+2)/2 xᵖ + p(p+2) xᵖ⁺¹ − p(p+1)/2 xᵖ⁺², learned f_k."""
        frequencies = self._weights[f"bond_basis_expansion.rbf_expansion_{graph}.frequencies"]
        d, p = distances[:, None], _ENVELOPE_POWER
        x = d / cutoff
        envelope = 1 - x**p * ((p + 1) * (p + 2) / 2 - x * (p * (p + 2) - x * (p * (p + 1) / 2)))
        return sqrt(2 / cutoff) * envelope * torch.sin(frequencies * x) / d

    def _angular(self, angles: Tensor) -> Float[Tensor, "angle channel"]:
        """(1/√2, sin f_k θ, cos f_k θ)/√π with learned f_k."""
        phases = angles[:, None] * self._weights["angle_basis_expansion.fourier_expansion.frequencies"]
        constant = torch.full_like(angles[:, None], 1 / sqrt(2))
        return torch.cat([constant, torch.sin(phases), torch.cos(phases)], dim=1) / sqrt(pi)
