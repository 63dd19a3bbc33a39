"""The same operators in plain torch: slow, differentiable any number of times, what the kernels are compared with."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from groundstate.equivariant.coupling import dense_coupling
from groundstate.equivariant.generator.algebra import MessageProgram, PolynomialProgram
from groundstate.equivariant.generator.runtime import hermite


def interpolate(
    kept: Float[Tensor, "kept table knot path channel"],
    x: Float[Tensor, " edge"],
    which: Int[Tensor, " edge"] | None = None,
) -> Float[Tensor, "path edge channel"]:
    """Tabulated functions at coordinates x, of the table of each edge; exactly 0 from x = 1 on, NaN where x is.

    kept   value, slope (and curvature) by x on the knots, as `radial_table` takes them
    """
    numbers, tables, knots, paths, channels = kept.shape
    position = x * (knots - 1)
    knot = position.detach().nan_to_num().floor().clamp(0, knots - 2).long()
    outside = x.detach() >= 1
    t = torch.where(outside, torch.ones_like(x), position - knot)
    rows = kept.permute(1, 2, 0, 3, 4).reshape(tables * knots, numbers, paths * channels)
    start = knot if which is None else which.long() * knots + knot
    total = torch.zeros((), dtype=kept.dtype, device=kept.device)
    for end in range(2):
        gathered = rows.index_select(0, start + end)
        for derivative in range(numbers):
            weight = torch.zeros_like(t)
            for coefficient in reversed(hermite(numbers)[end * numbers + derivative].coef.tolist()):
                weight = weight * t + coefficient
            weight = torch.where(outside, torch.zeros_like(weight), weight / (knots - 1) ** derivative)
            total = total + weight[:, None] * gathered[:, derivative]
    return total.view(len(x), paths, channels).transpose(0, 1)


def unpacked(
    table: Float[Tensor, "table knot block path kept 16"],
) -> Float[Tensor, "kept table knot path channel"]:
    """Inverse of `radial_table`."""
    return table.permute(4, 0, 1, 3, 2, 5).flatten(4)


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
    radial, sent = interpolate(unpacked(table), x, which), features[senders]
    blocks = dense_coupling(program.paths, program.lmax_features, program.lmax_harmonics)
    edges = torch.zeros(len(x), program.rows, features.shape[2], dtype=features.dtype)
    parts: list[Tensor] = [edges.new_empty(0)] * program.rows
    for p, block in enumerate(blocks):
        coupling = torch.tensor(block, dtype=features.dtype)
        coupled = torch.einsum("mab,eac,eb->emc", coupling, sent, harmonics) * radial[p][:, None]
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
