"""The weights of a model of mace-torch as ours: normalisations folded in, dependent couplings made independent.

Its harmonics have y polar where ours have z. Coupling coefficients agree, signs included, so that every layer is the
same map of the same components in a frame whose axes are named in another order, and energies do not depend on it.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from groundstate.atoms import ModelError
from groundstate.equivariant import natural_parity_paths
from groundstate.equivariant.factorisation import normalised_couplings
from groundstate.potentials.mace import EnergyHead, Layer, MACETrunk
from groundstate.potentials.mace.radial import SILU_SCALE, bessel_amplitude
from groundstate.zoo.mace.architecture import Architecture
from groundstate.zoo.mace.extraction import Extraction, Floats

RESIDUAL = 1e-10
"""Largest relative residual of a coupling over ours."""
RESIDUAL_FLOAT32 = 1e-5
"""The same where the model's own couplings were rounded to float32."""


def fill(trunk: MACETrunk, head: EnergyHead, made: Architecture, found: Extraction) -> float:
    """Set every weight of trunk and head; returns the largest relative residual of the couplings."""
    n_elements, channels = len(made.elements), made.config.channels
    order = list(made.order)
    (embedding,) = found.weight("node_embedding.linear", (n_elements, channels))
    _set(trunk.embedding, embedding[order] / math.sqrt(n_elements))
    residuals = [_fill_layer(layer, t, made, found) for t, layer in enumerate(trunk.layers)]
    _fill_readouts(head, made, found)
    return max(residuals)


def _fill_layer(layer: nn.Module, t: int, made: Architecture, found: Extraction) -> float:
    assert isinstance(layer, Layer)
    config, n_elements, order = made.config, len(made.elements), list(made.order)
    channels, square = config.channels, (config.channels, config.channels)
    l_in = config.hidden_lmax if t > 0 else 0
    l_out = config.hidden_lmax if t < config.layers - 1 else 0
    interaction = f"interactions.{t}"
    _set_all(layer.up.weights, found.weight(f"{interaction}.linear_up", *[square] * (l_in + 1)))
    _fill_radial(layer, f"{interaction}.conv_tp_weights", made, found)
    average = float(found.attribute(interaction, "avg_num_neighbors"))
    down = found.weight(f"{interaction}.linear", *[(n * channels, channels) for n in layer.message.copies])
    _set_all(layer.down.weights, [weight * (config.average_neighbours / average) for weight in down])
    residual = 0.0
    for L in range(l_out + 1):
        weight, rest = _product_weights(found, f"products.{t}.symmetric_contractions.contractions.{L}", L, made)
        _set(layer.product.weights[L], weight[order])
        residual = max(residual, rest)
    _set_all(layer.mix.weights, found.weight(f"products.{t}.linear", *[square] * (l_out + 1)))
    kept = min(l_in, l_out) + 1
    skip = found.weight(f"{interaction}.skip_tp", *[(channels, n_elements, channels)] * kept)
    assert layer.skip is not None
    _set(layer.skip.weight, np.stack(skip).transpose(2, 0, 1, 3)[order] / math.sqrt(n_elements))
    return residual


def _fill_radial(layer: Layer, path: str, made: Architecture, found: Extraction) -> None:
    config = made.config
    # Theirs is √(2/r_c) sin(nπr/r_c)/r, ours a sin(nπx)/(nx).
    n = np.arange(1, config.radial_basis + 1)
    basis = n * math.sqrt(2.0 / config.cutoff) / (config.cutoff * bessel_amplitude(config.radial_basis))
    gain = _gain(found, f"{path}.layer0.act")
    depth = len(config.radial_widths)
    for i, parameter in enumerate(layer.radial.hidden):
        weight = found.floats(f"{path}.layer{i}.weight")
        _set(parameter, weight * (basis[:, None] if i == 0 else gain))
    last = found.floats(f"{path}.layer{depth}.weight") * gain
    paths = natural_parity_paths(config.lmax, layer.up.lmax_out, config.lmax)
    _set(layer.radial.last, last.reshape(len(last), len(paths), config.channels).transpose(1, 0, 2))


def _fill_readouts(head: EnergyHead, made: Architecture, found: Extraction) -> None:
    config, columns = made.config, len(made.heads)
    for t, parameter in enumerate(head.readout.linear):
        _set(parameter, found.weight(f"readouts.{t}.linear", (config.channels, columns))[0])
    path, hidden = f"readouts.{config.layers - 1}", columns * config.readout_width
    _set(head.readout.hidden, found.weight(f"{path}.linear_1", (config.channels, hidden))[0])
    (last,) = found.weight(f"{path}.linear_2", (columns, config.readout_width, columns))
    # A head reads its own hidden units only, though every weight exists.
    own = np.stack([last[h, :, h] for h in range(columns)])
    _set(head.readout.last, own * (_gain(found, f"{path}.non_linearity.acts.0") / math.sqrt(columns)))


def _gain(found: Extraction, path: str) -> float:
    """Theirs over ours: both scale SiLU to unit second moment, one of the two integrals was sampled."""
    return float(found.attribute(path, "cst")) / SILU_SCALE


def _product_weights(found: Extraction, path: str, L: int, made: Architecture) -> tuple[Floats, float]:
    """Weights [element, coupling, channel] of one degree, and the largest relative residual.

    A polynomial Σ_k w_k U_k(A, …, A) is symmetrised to coefficients of monomials, which are ours times a matrix.
    """
    correlation, lmax = made.config.correlation, made.config.lmax
    pieces, worst = [], 0.0
    for order in range(1, correlation + 1):
        coupling = found.floats(f"{path}.U_matrix_{order}")
        name = "weights_max" if order == correlation else f"weights.{correlation - 1 - order}"
        monomials, ours = normalised_couplings(lmax, L, order)
        theirs, rest = _symmetrised(coupling, L, order, (lmax + 1) ** 2, monomials)
        matrix = np.linalg.lstsq(ours.reshape(len(ours), -1).T, theirs.reshape(-1, theirs.shape[-1]), rcond=None)[0]
        left = theirs - np.einsum("nMm,nk->Mmk", ours, matrix)
        size = float(np.abs(theirs).max()) or 1.0
        residual = max(float(np.abs(left).max()), rest) / size
        rounded = bool((coupling == coupling.astype(np.float32)).all())
        if residual > (RESIDUAL_FLOAT32 if rounded else RESIDUAL):
            raise ModelError(
                "E-MACE-COUPLING",
                f"{path}: a coupling of order {order} differs from every one of ours by {residual:.1e}",
                why="its features are not of natural parity, or the file is damaged",
                fix="use the model through its own package",
            )
        pieces.append(np.einsum("nk,zkc->znc", matrix, found.floats(f"{path}.{name}")))
        worst = max(worst, residual)
    weight = np.concatenate(pieces, axis=1)
    return weight * math.sqrt(weight.shape[1]), worst


def _symmetrised(coupling: Floats, L: int, order: int, dimension: int, monomials: np.ndarray) -> tuple[Floats, float]:
    """Coefficients [2L+1, monomial, k] of couplings [2L+1, irrep, …, irrep, k], and the largest of other monomials."""
    flat = coupling.reshape(2 * L + 1, dimension**order, -1)
    factors = np.sort(np.stack(np.unravel_index(np.arange(dimension**order), (dimension,) * order), axis=1), axis=1)
    key = np.ravel_multi_index(tuple(factors.T), (dimension,) * order)
    total = np.zeros((dimension**order, flat.shape[0], flat.shape[2]))
    np.add.at(total, key, flat.transpose(1, 0, 2))
    wanted = np.ravel_multi_index(tuple(monomials.T), (dimension,) * order)
    chosen = total[wanted].transpose(1, 0, 2)
    total[wanted] = 0.0
    return chosen, float(np.abs(total).max())


def _set_all(parameters: Any, weights: list[Floats]) -> None:
    for parameter, weight in zip(parameters, weights, strict=True):
        _set(parameter, weight)


def _set(parameter: torch.Tensor, weight: Floats) -> None:
    if tuple(parameter.shape) != weight.shape:
        raise ModelError(
            "E-MACE-SHAPE",
            f"a weight of shape {weight.shape} was found where {tuple(parameter.shape)} was expected",
            fix="report the version of mace-torch that wrote the file",
        )
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
