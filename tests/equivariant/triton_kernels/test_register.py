"""What the operators run on CUDA tensors: signatures, results in the right places, derivatives through autograd."""

import inspect

import pytest
import torch
from torch import Tensor

from groundstate.equivariant import operators
from groundstate.equivariant.operators import KernelSpec
from groundstate.equivariant.operators.message import radial_table
from groundstate.equivariant.operators.reference import message_reference, product_reference
from groundstate.equivariant.triton_kernels.register import (
    IMPLEMENTATIONS,
    on_harmonics_second,
    on_message_backward,
    on_message_second,
    on_product_second,
    register,
)

SPEC = KernelSpec(lmax=1, hidden_lmax=1, correlation=2, channels=32, dtype="float64")
PTR, SENDERS = torch.tensor([0, 2, 4, 5]), torch.tensor([1, 2, 0, 1, 0])
CLASSES = torch.tensor([1, 0, 1])


@pytest.mark.parametrize("pair", IMPLEMENTATIONS, ids=lambda pair: pair[1].__name__)
def test_signatures_are_those_of_the_operators(pair: tuple) -> None:
    operator, implementation = pair
    wanted = [argument.name for argument in operator._opoverload._schema.arguments]
    assert list(inspect.signature(implementation).parameters) == wanted


def normal(*size: int, seed: int) -> Tensor:
    return torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def message_inputs() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """h, table, x, Y and a cotangent, all to be differentiated by."""
    program = SPEC.messages[1]
    table = radial_table(normal(2, 1, 4, len(program.paths), 32, seed=1))
    x = torch.tensor([0.1, 0.35, 0.6, 0.9, 1.0], dtype=torch.float64)
    given = normal(3, 4, 32, seed=2), table, x, normal(5, 4, seed=3), normal(3, program.rows, 32, seed=4)
    return tuple(value.requires_grad_() for value in given)


def test_message_in_the_places_of_the_operators(device: torch.device) -> None:
    h, table, x, Y, G = message_inputs()
    out = message_reference(SPEC.messages[1], h, table, x, Y, PTR, SENDERS)
    first = torch.autograd.grad((G * out).sum(), (h, table, x, Y), create_graph=True)
    along = [normal(*value.shape, seed=n) for n, value in enumerate((h, table, x, Y))]
    psi = sum((v * g).sum() for v, g in zip(along, first, strict=True))
    second = torch.autograd.grad(psi, (h, table, x, Y, G))

    there = [value.detach().to(device) for value in (h, table, x, Y, PTR, SENDERS)]
    found = on_message_backward(*there, None, G.detach().to(device), SPEC.name, 1, True, True)
    for one, two in zip(found, first, strict=True):
        torch.testing.assert_close(one.cpu(), two, rtol=1e-10, atol=1e-10)
    dh, dtable, dx, dY = (v.to(device) for v in along)
    given = (*there, None, G.detach().to(device), dh, dtable, dx, dY)
    for one, two in zip(on_message_second(*given, SPEC.name, 1, True), second, strict=True):
        torch.testing.assert_close(one.cpu(), two, rtol=1e-10, atol=1e-10)
    empty = on_message_backward(*there, None, G.detach().to(device), SPEC.name, 1, False, False)
    assert [value.numel() for value in empty[1:]] == [0, 0, 0]


def test_product_and_harmonics_in_the_places_of_the_operators(device: torch.device) -> None:
    program = SPEC.products[1]
    A, c = normal(3, 4, 32, seed=1).requires_grad_(), normal(2, program.slots, 32, seed=2).requires_grad_()
    out = product_reference(program, A, c, CLASSES)
    G = normal(*out.shape, seed=3).requires_grad_()
    first = torch.autograd.grad((G * out).sum(), (A, c), create_graph=True)
    vA, vc = normal(*A.shape, seed=4), normal(*c.shape, seed=5)
    expected = torch.autograd.grad((vA * first[0]).sum() + (vc * first[1]).sum(), (G, A, c))
    tensors = [value.detach().to(device) for value in (A, c, CLASSES, torch.argsort(CLASSES), G, vA, vc)]
    for one, two in zip(on_product_second(*tensors, SPEC.name, 1), expected, strict=True):
        torch.testing.assert_close(one.cpu(), two, rtol=1e-10, atol=1e-10)

    u, du, gY = normal(4, 3, seed=6), normal(4, 3, seed=7), normal(4, 4, seed=8)  # degree 1 is √3 (y, z, x)
    to_u, to_G = on_harmonics_second(u.to(device), du.to(device), gY.to(device), SPEC.name)
    assert not to_u.any()
    torch.testing.assert_close(to_G[:, 1:].cpu(), 3**0.5 * du[:, [1, 2, 0]])
    assert not to_G[:, 0].any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU to dispatch to")
def test_operators_dispatch_to_the_gpu() -> None:
    register()
    h, table, x, Y, _ = (value.detach().float() for value in message_inputs())
    expected = message_reference(SPEC.messages[1], h, table, x, Y, PTR, SENDERS)
    there = [value.cuda() for value in (h, table, x, Y, PTR, SENDERS)]
    found = operators.message(SPEC, 1, *there)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-4)
