"""The same operators in plain torch: slow, differentiable any number of times, what the kernels are compared with."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groundstate.equivariant.coupling import dense_coupling
from groundstate.equivariant.generator.algebra import MessageProgram, PolynomialProgram
from groundstate.equivariant.generator.runtime import hermite


def interpolate(
    table: Float[Tensor, "table knot block path kept 16"],
    x: Float[Tensor, " edge"],
    which: Int[Tensor, " edge"] | None = None,
) -> Float[Tensor, "edge path channel"]:
    """Radial functions at coordinates x, of the table of each edge; 0 from x = 1 on."""
    kept, intervals = table.shape[4], table.shape[1] - 1
    position = x * intervals
    knot = position.detach().floor().clamp(0, intervals - 1).long()
    t = torch.where(x < 1, position - knot, torch.zeros_like(x))
    first = torch.zeros_like(knot) if which is None else which.long()
    values = table.permute(0, 1, 4, 3, 2, 5).flatten(4)  # [table, knot, kept, path, channel]
    total = torch.zeros((), dtype=table.dtype)
    for j, polynomial in enumerate(hermite(kept)):
        end, derivative = divmod(j, kept)
        weight = torch.zeros_like(t)
        for coefficient in reversed(polynomial.coef.tolist()):
            weight = weight * t + coefficient
        weight = torch.where(x < 1, weight / intervals**derivative, torch.zeros_like(weight))
        total = total + weight[:, None, None] * values[first, knot + end, derivative]
    return total


def message_reference(
    program: MessageProgram,
    features: Float[Tensor, "atom irrep channel"],
    table: Float[Tensor, "table knot block path kept 16"],
    x: Float[Tensor, " edge"],
    harmonics: Float[Tensor, "edge irrep_harmonic"],
    receiver_ptr: Int[Tensor, " boundary"],
    senders: Int[Tensor, " edge"],
    which: Int[Tensor, " edge"] | None = None,
) -> Float[Tensor, "atom row channel"]:
    """`message` by einsum over all edges."""
    radial, sent = interpolate(table, x, which), features[senders]
    blocks = dense_coupling(program.paths, program.lmax_features, program.lmax_harmonics)
    edges = torch.zeros(len(x), program.rows, features.shape[2], dtype=features.dtype)
    parts: list[Tensor] = [edges.new_empty(0)] * program.rows
    for p, block in enumerate(blocks):
        coupling = torch.tensor(block, dtype=features.dtype)
        coupled = torch.einsum("mab,eac,eb->emc", coupling, sent, harmonics) * radial[:, p, None]
        for m in range(coupled.shape[1]):
            parts[program.row(p, m)] = coupled[:, m]
    receivers = torch.repeat_interleave(torch.arange(len(features)), receiver_ptr.diff())
    out = torch.zeros(len(features), program.rows, features.shape[2], dtype=features.dtype)
    return out.index_add(0, receivers, torch.stack(parts, dim=1))


def product_reference(
    program: PolynomialProgram,
    features: Float[Tensor, "atom irrep channel"],
    coefficients: Float[Tensor, "class slot channel"],
    classes: Int[Tensor, " atom"],
) -> Float[Tensor, "atom irrep_out channel"]:
    """`product` monomial by monomial."""
    chosen = coefficients[classes]
    outputs = []
    for monomials in program.outputs:
        total = torch.zeros_like(features[:, 0])
        for monomial in monomials:
            total = total + chosen[:, monomial.slot] * features[:, list(monomial.factors)].prod(dim=1)
        outputs.append(total)
    return torch.stack(outputs, dim=1)
