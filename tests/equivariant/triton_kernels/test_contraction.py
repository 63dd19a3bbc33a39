"""The kernels of the contraction against `SymmetricContraction` and against autograd of the monomials in float64."""

import pytest
import torch
from torch import Tensor

from groundstate.equivariant import SymmetricContraction
from groundstate.equivariant.generator.algebra import PolynomialProgram
from groundstate.equivariant.triton_kernels import contraction_backward, contraction_forward, contraction_second

PROGRAMS = [PolynomialProgram(3, 0, 2), PolynomialProgram(3, 0, 3), PolynomialProgram(3, 1, 3)]
LARGE = [PolynomialProgram(3, 2, 3), PolynomialProgram(4, 1, 3)]
CLASSES = torch.tensor([0, 2, 2, 0])  # not sorted, one class without atoms


def assert_close(found: Tensor | None, expected: Tensor, tolerance: float) -> None:
    assert found is not None
    assert found.shape == expected.shape
    error = (found.double().cpu() - expected.detach()).abs().max() / expected.detach().abs().max()
    assert error < tolerance


def monomials(program: PolynomialProgram, A: Tensor, c: Tensor) -> Tensor:
    """The sum, one monomial after the other."""
    rows = []
    for terms in program.outputs:
        row = A.new_zeros(len(A), A.shape[2])
        for monomial in terms:
            row = row + c[CLASSES, monomial.slot] * A[:, list(monomial.factors)].prod(dim=1)
        rows.append(row)
    return torch.stack(rows, dim=1)


class Case:
    def __init__(self, program: PolynomialProgram, channels: int = 32) -> None:
        generator = torch.Generator().manual_seed(1)

        def normal(*size: int) -> Tensor:
            return torch.randn(size, dtype=torch.float64, generator=generator)

        a, c = (len(CLASSES), program.features, channels), (3, program.slots, channels)
        self.program = program
        self.A, self.c, self.vA, self.vc = (
            normal(*a).requires_grad_(),
            normal(*c).requires_grad_(),
            normal(*a),
            normal(*c),
        )
        self.out = monomials(program, self.A, self.c)
        self.g = normal(*self.out.shape).requires_grad_()
        self.first = torch.autograd.grad((self.g * self.out).sum(), (self.A, self.c), create_graph=True)

    def second(self, *, with_coefficients: bool) -> tuple[Tensor, ...]:
        psi = (self.vA * self.first[0]).sum()
        if with_coefficients:
            psi = psi + (self.vc * self.first[1]).sum()
        return torch.autograd.grad(psi, (self.g, self.A, self.c), retain_graph=True)


def check_all(case: Case, dtype: torch.dtype, tolerance: float, device: torch.device) -> None:
    A, c, g, vA, vc = (t.detach().to(device=device, dtype=dtype) for t in (case.A, case.c, case.g, case.vA, case.vc))
    classes = CLASSES.to(device)
    assert_close(contraction_forward(case.program, A, c, classes), case.out, tolerance)
    first = contraction_backward(case.program, A, c, classes, g, coefficients=True)
    for found, expected in zip(first, case.first, strict=True):
        assert_close(found, expected, tolerance)
    for direction in (None, vc):
        second = contraction_second(case.program, A, c, classes, g, vA, direction)
        for found, expected in zip(second, case.second(with_coefficients=direction is not None), strict=True):
            assert_close(found, expected, tolerance)


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_equal_to_monomials_and_their_derivatives(
    program: PolynomialProgram, precision: tuple[torch.dtype, float], device: torch.device
) -> None:
    check_all(Case(program), *precision, device)


@pytest.mark.parametrize("program", LARGE, ids=str)
def test_large_programs(program: PolynomialProgram, device: torch.device) -> None:
    check_all(Case(program), torch.float32, 1e-5, device)


def test_three_blocks_of_channels(device: torch.device) -> None:
    check_all(Case(PROGRAMS[0], channels=96), torch.float64, 1e-12, device)


def test_equal_to_symmetric_contraction(device: torch.device) -> None:
    layer = SymmetricContraction(3, 1, 3, channels=32, classes=3, dtype=torch.float64)
    program = PolynomialProgram(3, 1, 3)
    weights = torch.cat(list(layer.weights), dim=1).detach()
    c = torch.einsum("sw,zwk->zsk", torch.from_numpy(program.fold), weights)
    A = torch.randn(len(CLASSES), 16, 32, dtype=torch.float64)
    found = contraction_forward(program, A.to(device), c.to(device), CLASSES.to(device))
    assert_close(found, layer(A, CLASSES), 1e-12)


def test_pieces_of_a_class_add_up(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    monkeypatch.setattr("groundstate.equivariant.triton_kernels.launch.OF_A_PIECE", 1)
    case = Case(PROGRAMS[0])
    A, c, g = (t.detach().to(device) for t in (case.A, case.c, case.g))
    gA, gc = contraction_backward(case.program, A, c, CLASSES.to(device), g, features=False, coefficients=True)
    assert gA is None
    assert_close(gc, case.first[1], 1e-12)
