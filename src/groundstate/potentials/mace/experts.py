"""What linear experts are mixed by: composition, charge, spin and level of theory, and nothing that moves.

Every map of channels before a message, over its paths and after a product holds K matrices and acts with Σ_k α_k W_k;
α = softmax of a small network of quantities of the whole structure. They are intensive and know no order of atoms, so α
is the same for every supercell; they know no positions, so forces and stress are derivatives of one fixed network, and
at fixed composition the experts are one matrix (`merging`).

The price: an atom feels which elements are elsewhere, however far. The energy of two fragments of different composition
is not the sum of theirs; the law `size_consistency` fails, as it should. Atoms without neighbours keep their reference
energies whatever is beside them: they have no features to mix.

Source: Wood et al., UMA, arXiv:2506.23971 (2025). Checked: tests/potentials/test_mace_experts.py
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from groundstate.atoms import System
from groundstate.equivariant import Mixture, unit_normal
from groundstate.potentials.mace.conditions import SENSITIVITIES, per_atom
from groundstate.potentials.mace.config import MACEConfig

_ELEMENT_WIDTH, _HIDDEN_WIDTH = 16, 32


@dataclass(frozen=True, eq=False)
class Globals:
    """What the structures of a batch are mixed by.

    rows     float64, each only once: fraction of every element; charge and (multiplicity − 1) per atom where they are
             seen; level of theory, one column each, where there are several
    lengths  atoms of each structure
    groups   its row
    """

    rows: Float[Tensor, "group column"]
    lengths: tuple[int, ...]
    groups: tuple[int, ...]


class Gate(nn.Module):
    """α = softmax W₂ tanh(W₁ x), x = mean over atoms of an embedding of their elements, conditions, level of theory.

    tanh bounds what a charge or a composition far from those of training can do to the shares.
    """

    def __init__(
        self, config: MACEConfig, n_elements: int, n_theories: int, *, dtype: torch.dtype, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config, self.n_elements, self.n_theories = config, n_elements, n_theories
        self._conditions = (config.charge != "ignores") + (config.multiplicity != "ignores")
        inputs = _ELEMENT_WIDTH + len(SENSITIVITIES) * self._conditions + (n_theories if n_theories > 1 else 0)
        shapes = [(n_elements, _ELEMENT_WIDTH), (inputs, _HIDDEN_WIDTH), (_HIDDEN_WIDTH, config.experts)]
        self.weights = unit_normal(shapes, dtype, None, generator)

    def globals_of(self, system: System, classes: Int[Tensor, " atom"]) -> Globals:
        """See `globals_of`."""
        return globals_of(self.config, self.n_elements, self.n_theories, system, classes)

    def forward(self, rows: Float[Tensor, "group column"]) -> Float[Tensor, "group expert"]:
        """α of rows of `Globals`."""
        elements, into, out = self.weights
        ends = (self.n_elements, self.n_elements + self._conditions)
        fractions, conditions, theories = rows.to(into.dtype).tensor_split(ends, dim=1)
        embedded = fractions @ elements / _ELEMENT_WIDTH**0.5
        scaled = [conditions * (factor / len(SENSITIVITIES) ** 0.5) for factor in SENSITIVITIES]
        hidden = torch.tanh(torch.cat([embedded, *scaled, theories], dim=1) @ into)
        return torch.softmax(hidden @ out / _HIDDEN_WIDTH**0.5, dim=1)

    def mixture(self, found: Globals) -> Mixture:
        """How the atoms of a batch mix the experts."""
        return Mixture(self(found.rows), found.lengths, found.groups)


def globals_of(
    config: MACEConfig, n_elements: int, n_theories: int, system: System, classes: Int[Tensor, " atom"]
) -> Globals:
    """See `Globals`. Fractions are quotients of integers, so they are equal to the last bit in every supercell."""
    counts = torch.bincount(system.system_index * n_elements + classes, minlength=system.n_systems * n_elements)
    columns = [counts.view(-1, n_elements) / system.atoms_per_system[:, None].double(), per_atom(config, system)]
    if n_theories > 1:
        asked = torch.zeros_like(system.atoms_per_system) if system.theory is None else system.theory
        columns.append(nn.functional.one_hot(asked, n_theories))
    rows, lengths = torch.cat(columns, dim=1), tuple(system.atoms_per_system.tolist())
    if len(rows) == 1:
        return Globals(rows, lengths, (0,))
    distinct, group = torch.unique(rows, dim=0, return_inverse=True)
    return Globals(distinct, lengths, tuple(group.tolist()))
