import math
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from groundstate.equivariant import (
    ClassedIrrepLinear,
    IrrepLayout,
    IrrepLinear,
    SymmetricContraction,
    TensorProduct,
    coupling_coefficients,
    degree_slice,
    rotation_matrix,
    spherical_harmonics,
    symmetric_couplings,
)

CLASSES = torch.tensor([2, 0, 0, 3, 2])  # class 1 is absent


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def random_vectors(count: int, seed: int = 0) -> Tensor:
    return nn.functional.normalize(draw(count, 3, seed=seed), dim=-1)


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def turn(features: Tensor, lmax: int, frame: Tensor) -> Tensor:
    return torch.einsum("ij,ajc->aic", rotation_matrix(lmax, frame), features)


def turn_rows(features: Tensor, layout: IrrepLayout, frame: Tensor) -> Tensor:
    """Rotate a feature with several copies of each degree."""
    rotation = rotation_matrix(layout.lmax, frame)
    turned = []
    for l, copies in enumerate(layout.copies):
        block = features[:, layout.rows_of(l)].unflatten(1, (2 * l + 1, copies))
        turned.append(torch.einsum("ij,ajpc->aipc", rotation[degree_slice(l), degree_slice(l)], block).flatten(1, 2))
    return torch.cat(turned, dim=1)


# --- equivariance


@pytest.mark.parametrize("lmax_features", [0, 1, 2])
def test_tensor_product_turns_with_the_frame(frame: Tensor, lmax_features: int) -> None:
    module = TensorProduct(lmax_features, 3, 3)
    r, h = random_vectors(6), draw(6, (lmax_features + 1) ** 2, 4)
    weights = draw(6, len(module.paths), 4, seed=2)
    turned = module(turn(h, lmax_features, frame), spherical_harmonics(3, r @ frame.T), weights)
    expected = turn_rows(module(h, spherical_harmonics(3, r), weights), module.layout, frame)
    torch.testing.assert_close(turned, expected, rtol=0, atol=1e-10)


def test_linear_turns_with_the_frame(frame: Tensor) -> None:
    layout = IrrepLayout((2, 3, 0, 1))
    module = IrrepLinear(layout, 4, 5, dtype=torch.float64, generator=seeded())
    x = draw(6, layout.rows, 4)
    turned = module(turn_rows(x, layout, frame))
    torch.testing.assert_close(turned, turn(module(x), 3, frame), rtol=0, atol=1e-10)


def test_classed_linear_turns_with_the_frame(frame: Tensor) -> None:
    module = ClassedIrrepLinear(3, 4, 5, 4, lmax_out=2, dtype=torch.float64, generator=seeded())
    x = draw(5, 16, 4)
    turned = module(turn(x, 3, frame), CLASSES)
    torch.testing.assert_close(turned, turn(module(x, CLASSES), 2, frame), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("lmax_out", "correlation"), [(0, 3), (1, 3), (2, 3), (1, 4)])
def test_contraction_turns_with_the_frame(frame: Tensor, lmax_out: int, correlation: int) -> None:
    module = SymmetricContraction(3, lmax_out, correlation, 4, 4, dtype=torch.float64, generator=seeded())
    x = draw(5, 16, 4)
    turned = module(turn(x, 3, frame), CLASSES)
    torch.testing.assert_close(turned, turn(module(x, CLASSES), lmax_out, frame), rtol=0, atol=1e-10)


def test_moving_from_float32_to_float64_leaves_no_rounding(frame: Tensor) -> None:
    """A model trained in float32 is exactly equivariant once in float64, also after it has been used."""
    module = SymmetricContraction(2, 1, 3, 3, 4, dtype=torch.float32, generator=seeded())
    x = draw(5, 9, 3)
    module(x.float(), CLASSES)
    module = module.double()
    turned = module(turn(x, 2, frame), CLASSES)
    torch.testing.assert_close(turned, turn(module(x, CLASSES), 1, frame), rtol=0, atol=1e-12)


# --- values


def test_tensor_product_equals_its_formula() -> None:
    module = TensorProduct(2, 3, 2)
    h, y, weights = draw(5, 9, 3), draw(5, 16, seed=1), draw(5, len(module.paths), 3, seed=2)
    result = module(h, y, weights)
    for l in range(3):
        block = result[:, module.layout.rows_of(l)].unflatten(1, (2 * l + 1, -1))
        of_degree = [(p, path) for p, path in enumerate(module.paths) if path.out == l]
        assert block.shape[2] == len(of_degree)
        for copy, (p, path) in enumerate(of_degree):
            coefficients = math.sqrt(2 * l + 1) * torch.tensor(coupling_coefficients(*path))
            factors = h[:, degree_slice(path.feature)], y[:, degree_slice(path.harmonic)]
            expected = torch.einsum("abm,eac,eb->emc", coefficients, *factors) * weights[:, p, None]
            torch.testing.assert_close(block[:, :, copy], expected, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_tensor_product_equals_e3nn(o3: ModuleType) -> None:
    module = TensorProduct(1, 3, 3)
    channels, edges = 4, 5
    h, y, weights = draw(edges, 4, channels), draw(edges, 16, seed=1), draw(edges, 10, channels, seed=2)
    irreps_in = o3.Irreps([(channels, (l, (-1) ** l)) for l in range(2)])
    irreps_y = o3.Irreps([(1, (l, (-1) ** l)) for l in range(4)])
    irreps_out = o3.Irreps([(channels, (path.out, (-1) ** path.out)) for path in module.paths])
    instructions = [(path.feature, path.harmonic, i, "uvu", True) for i, path in enumerate(module.paths)]
    reference = o3.TensorProduct(
        irreps_in, irreps_y, irreps_out, instructions, shared_weights=False, internal_weights=False
    ).double()
    flat = torch.cat([h[:, degree_slice(l)].transpose(1, 2).reshape(edges, -1) for l in range(2)], dim=1)
    theirs = reference(flat, y, weights.reshape(edges, -1))
    ours = module(h, y, weights)
    for i, (path, rows) in enumerate(zip(module.paths, irreps_out.slices(), strict=True)):
        copy = i - sum(module.layout.copies[: path.out])
        block = ours[:, module.layout.rows_of(path.out)].unflatten(1, (2 * path.out + 1, -1))[:, :, copy]
        expected = theirs[:, rows].unflatten(1, (channels, 2 * path.out + 1)).transpose(1, 2)
        torch.testing.assert_close(block, expected, rtol=0, atol=2e-6)  # theirs is compiled with float32 constants


def test_linear_equals_its_formula() -> None:
    layout = IrrepLayout((2, 0, 3))
    module = IrrepLinear(layout, 4, 5, dtype=torch.float64, generator=seeded())
    x = draw(6, layout.rows, 4)
    result = module(x)
    assert result.shape == (6, 9, 5)
    assert (result[:, degree_slice(1)] == 0).all()
    weight = module.weights[2].unflatten(0, (3, 4))
    block = x[:, layout.rows_of(2)].unflatten(1, (5, 3))
    expected = torch.einsum("ampc,pcd->amd", block, weight) / math.sqrt(12)
    torch.testing.assert_close(result[:, degree_slice(2)], expected, rtol=0, atol=1e-12)


def test_classed_linear_equals_one_atom_at_a_time() -> None:
    module = ClassedIrrepLinear(2, 3, 4, 4, lmax_out=1, dtype=torch.float64, generator=seeded())
    x = draw(5, 9, 3)
    result = module(x, CLASSES)
    for atom, kind in enumerate(CLASSES.tolist()):
        for l in range(2):
            expected = x[atom, degree_slice(l)] @ module.weight[kind, l] / math.sqrt(3)
            torch.testing.assert_close(result[atom, degree_slice(l)], expected, rtol=0, atol=1e-12)


def test_contraction_equals_its_formula() -> None:
    """Each coupling summed monomial by monomial, on its own."""
    module = SymmetricContraction(2, 2, 3, 2, 4, dtype=torch.float64, generator=seeded())
    x = draw(5, 9, 2)
    result = module(x, CLASSES)
    for L in range(3):
        terms = []
        for order in (1, 2, 3):
            couplings = symmetric_couplings(2, L, order)
            products = x[:, torch.tensor(couplings.monomials)].prod(dim=2)
            scaled = couplings.coefficients / couplings.second_moments().reshape(-1, 1, 1) ** 0.5
            terms.append(torch.einsum("nMm,amc->anMc", torch.tensor(scaled), products))
        basis = torch.cat(terms, dim=1)
        expected = torch.einsum("anc,anMc->aMc", module.weights[L][CLASSES], basis) / math.sqrt(basis.shape[1])
        torch.testing.assert_close(result[:, degree_slice(L)], expected, rtol=0, atol=1e-11)


def test_output_degree_beyond_the_input_is_reached_by_products_only() -> None:
    """Two vectors make a tensor of degree 2; one does not."""
    x = draw(5, 4, 2)
    linear = SymmetricContraction(1, 2, 1, 2, 4, dtype=torch.float64, generator=seeded())(x, CLASSES)
    quadratic = SymmetricContraction(1, 2, 2, 2, 4, dtype=torch.float64, generator=seeded())(x, CLASSES)
    assert (linear[:, degree_slice(2)] == 0).all()
    assert quadratic[:, degree_slice(2)].abs().min() > 1e-6


def test_linear_cannot_make_a_degree() -> None:
    with pytest.raises(ValueError, match="EQUIVARIANT_DEGREE"):
        IrrepLinear(IrrepLayout.plain(1), 2, 2, lmax_out=2)
    with pytest.raises(ValueError, match="EQUIVARIANT_DEGREE"):
        ClassedIrrepLinear(1, 2, 2, 3, lmax_out=2)


def test_atoms_do_not_see_each_other() -> None:
    order = torch.tensor([3, 1, 4, 0, 2])
    x = draw(5, 16, 2)
    contraction = SymmetricContraction(3, 1, 3, 2, 4, dtype=torch.float64, generator=seeded())
    skip = ClassedIrrepLinear(3, 2, 2, 4, dtype=torch.float64, generator=seeded())
    for module in (contraction, skip):
        torch.testing.assert_close(module(x[order], CLASSES[order]), module(x, CLASSES)[order])


def test_nothing_in_nothing_out() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    assert TensorProduct(1, 3, 3)(torch.zeros(0, 4, 2), torch.zeros(0, 16), torch.zeros(0, 10, 2)).shape == (0, 40, 2)
    assert ClassedIrrepLinear(1, 2, 3, 4)(torch.zeros(0, 4, 2), none).shape == (0, 4, 3)
    assert SymmetricContraction(1, 1, 2, 2, 4)(torch.zeros(0, 4, 2), none).shape == (0, 4, 2)


# --- scale


def test_unit_variance_in_unit_variance_out() -> None:
    """Second moments over inputs and weights; the sample is large enough for 10 %."""
    channels, samples = 64, 500
    product = TensorProduct(1, 3, 3)
    h, weights = draw(samples, 4, channels), draw(samples, 10, channels, seed=1)
    out = product(h, spherical_harmonics(3, random_vectors(samples, 2)), weights)
    mixed = IrrepLinear(product.layout, channels, channels, dtype=torch.float64, generator=seeded())(out)
    kinds = torch.arange(samples) % 50
    skip = ClassedIrrepLinear(3, channels, channels, 50, dtype=torch.float64, generator=seeded())(
        draw(samples, 16, channels, seed=3), kinds
    )
    for result, layout in ((out, product.layout), (mixed, IrrepLayout.plain(3)), (skip, IrrepLayout.plain(3))):
        for l in range(4):
            assert result[:, layout.rows_of(l)].square().mean().item() == pytest.approx(1.0, abs=0.1)
    contraction = SymmetricContraction(3, 1, 3, channels, 50, dtype=torch.float64, generator=seeded())
    contracted = contraction(draw(samples, 16, channels, seed=4), kinds)
    for L in range(2):
        assert contracted[:, degree_slice(L)].square().mean().item() == pytest.approx(1.0, abs=0.1)


# --- derivatives and precision


def check_derivatives(function: Callable[..., Tensor], *inputs: Tensor) -> None:
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


def test_derivatives_of_tensor_product() -> None:
    module = TensorProduct(1, 2, 1)
    check_derivatives(module, draw(2, 4, 2), draw(2, 9, seed=1), draw(2, len(module.paths), 2, seed=2))


def test_derivatives_of_linear_maps() -> None:
    classes = torch.tensor([1, 0, 1])
    linear = IrrepLinear(IrrepLayout((1, 2)), 2, 2, dtype=torch.float64, generator=seeded())
    skip = ClassedIrrepLinear(1, 2, 2, 2, dtype=torch.float64, generator=seeded())

    def mix(x: Tensor, *weights: Tensor) -> Tensor:
        return torch.func.functional_call(linear, {f"weights.{l}": w for l, w in enumerate(weights)}, (x,))

    def mix_classed(x: Tensor, weight: Tensor) -> Tensor:
        return torch.func.functional_call(skip, {"weight": weight}, (x, classes))

    check_derivatives(mix, draw(2, 7, 2), *linear.weights)
    check_derivatives(mix_classed, draw(3, 4, 2), skip.weight)


def test_derivatives_of_contraction() -> None:
    classes = torch.tensor([1, 1])
    module = SymmetricContraction(1, 1, 3, 1, 2, dtype=torch.float64, generator=seeded())

    def contract(x: Tensor, *weights: Tensor) -> Tensor:
        return torch.func.functional_call(module, {f"weights.{L}": w for L, w in enumerate(weights)}, (x, classes))

    check_derivatives(contract, draw(2, 4, 1), *module.weights)


def test_float32_agrees() -> None:
    product = TensorProduct(1, 3, 3)
    linear = IrrepLinear(product.layout, 8, 8, dtype=torch.float32, generator=seeded())
    contraction = SymmetricContraction(3, 1, 3, 8, 4, dtype=torch.float32, generator=seeded())

    def layer(dtype: torch.dtype) -> Tensor:
        linear.to(dtype), contraction.to(dtype)
        y = spherical_harmonics(3, random_vectors(5).to(dtype))
        rows = product(draw(5, 4, 8, dtype=dtype), y, draw(5, 10, 8, seed=1, dtype=dtype))
        return contraction(linear(rows), CLASSES)

    single = layer(torch.float32)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), layer(torch.float64), rtol=1e-4, atol=1e-5)


def test_first_use_during_inference_does_not_block_training() -> None:
    module = SymmetricContraction(2, 0, 2, 2, 4, generator=seeded())
    x = draw(5, 9, 2, dtype=torch.float32)
    with torch.inference_mode():
        module(x, CLASSES)
    x.requires_grad_()
    module(x, CLASSES).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_state_holds_weights_only() -> None:
    """Coefficients are recomputed, so a model file holds only what was learnt."""
    state = SymmetricContraction(3, 1, 3, 2, 4).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {
        "weights.0": (4, 1 + 4 + 8, 2),
        "weights.1": (4, 1 + 3 + 12, 2),
    }
    assert TensorProduct(1, 3, 3).state_dict() == {}


def test_same_seed_same_weights() -> None:
    first = SymmetricContraction(2, 1, 2, 2, 4, generator=seeded(7)).weights
    again = SymmetricContraction(2, 1, 2, 2, 4, generator=seeded(7)).weights
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
