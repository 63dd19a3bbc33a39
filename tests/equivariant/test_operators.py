"""Operators on compiled kernels: against plain torch, and their derivatives against differences."""

from copy import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from groundstate.equivariant import SymmetricContraction, TensorProduct, spherical_harmonics
from groundstate.equivariant.generator.library import KernelSpec
from groundstate.equivariant.native import Library, Unavailable, supported_targets
from groundstate.equivariant.native.library import find
from groundstate.equivariant.operators import (
    derivatives,
    harmonics,
    message,
    operators_library,
    operators_plan,
    product,
)
from groundstate.equivariant.operators.reference import interpolate, message_reference, product_reference, unpacked
from groundstate.equivariant.operators.self_test import check_operators

DOUBLE, SINGLE = KernelSpec(2, 1, 2, 32, "float64"), KernelSpec(2, 1, 2, 32, "float32")
"""All tests but the slow ones compile these two only."""


@pytest.fixture(scope="module", params=[DOUBLE, SINGLE], ids=lambda spec: spec.dtype)
def spec(request: pytest.FixtureRequest) -> KernelSpec:
    library = operators_library(request.param)
    if isinstance(library, Unavailable):
        pytest.skip(library.reason)
    return request.param


class Batch:
    """Four atoms, the last without neighbours, edges over three tables; one coordinate lies beyond the cutoff."""

    def __init__(self, spec: KernelSpec, degree: int, intervals: int = 3) -> None:
        dtype, generator = getattr(torch, spec.dtype), torch.Generator().manual_seed(1)
        self.spec, self.degree, self.program = spec, degree, spec.messages[degree]
        self.ptr = torch.tensor([0, 3, 5, 9, 9])
        self.senders = torch.tensor([1, 2, 2, 0, 2, 0, 0, 1, 2])
        self.which = torch.tensor([0, 2, 1, 0, 1, 2, 2, 0, 0], dtype=torch.int32)
        blocks = (3, intervals + 1, spec.channels // 16, len(self.program.paths), spec.order, 16)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype)

        self.h, self.table = normal(4, self.program.features, spec.channels), normal(*blocks)
        self.x = (0.9 * torch.rand(9, dtype=torch.float64, generator=generator)).to(dtype)
        self.x[4] = 1.2
        self.Y = normal(9, self.program.harmonics)

    def inputs(self) -> list[Tensor]:
        return [self.h, self.table, self.x, self.Y]

    def run(self, h: Tensor, table: Tensor, x: Tensor, Y: Tensor) -> Tensor:
        return message(self.spec, self.degree, h, table, x, Y, self.ptr, self.senders, self.which)

    def reference(self, h: Tensor, table: Tensor, x: Tensor, Y: Tensor) -> Tensor:
        return message_reference(self.program, h, table, x, Y, self.ptr, self.senders, self.which)


def close(found: Tensor, expected: Tensor) -> None:
    tolerance = 1e-11 if found.dtype == torch.float64 else 2e-5
    scale = float(expected.abs().max())
    torch.testing.assert_close(found.double(), expected.double(), rtol=0, atol=tolerance * scale)


def some_channels(function, inputs: list[Tensor], axes: list[int | None]):  # type: ignore[no-untyped-def]
    """The function of one channel of each input: differences over all thirty-two would take long and show no more."""

    def of_slices(*slices: Tensor) -> Tensor:
        whole = []
        for tensor, part, axis in zip(inputs, slices, axes, strict=True):
            if axis is None:
                whole.append(part)
            else:
                rest = tensor.narrow(axis, 1, tensor.shape[axis] - 1)
                whole.append(torch.cat([part, rest], dim=axis))
        return function(*whole)

    starts = [t if axis is None else t.narrow(axis, 0, 1) for t, axis in zip(inputs, axes, strict=True)]
    return of_slices, [start.detach().clone().requires_grad_() for start in starts]


@pytest.mark.parametrize("degree", [0, 1])
def test_message_is_the_tensor_product_summed_over_neighbours(spec: KernelSpec, degree: int) -> None:
    batch = Batch(spec, degree)
    tensor_product = TensorProduct(degree, spec.lmax, spec.lmax)
    radial = interpolate(unpacked(batch.table.double()), batch.x.double(), batch.which).transpose(0, 1)
    edges = tensor_product(batch.h.double()[batch.senders], batch.Y.double(), radial)
    receivers = torch.repeat_interleave(torch.arange(4), batch.ptr.diff())
    expected = torch.zeros(4, *edges.shape[1:], dtype=torch.float64).index_add(0, receivers, edges)
    found = batch.run(*batch.inputs())
    close(found, expected)
    assert torch.equal(found[3], torch.zeros_like(found[3]))


def test_product_is_the_symmetric_contraction(spec: KernelSpec) -> None:
    layer = SymmetricContraction(spec.lmax, 1, spec.correlation, spec.channels, 3, dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    A = torch.randn(5, 9, spec.channels, dtype=torch.float64, generator=generator)
    classes = torch.tensor([2, 0, 2, 1, 0])
    fold = torch.tensor(spec.products[1].fold)
    coefficients = torch.matmul(fold, torch.cat(list(layer.weights), dim=1)).detach()
    dtype = getattr(torch, spec.dtype)
    close(product(spec, 1, A.to(dtype), coefficients.to(dtype), classes), layer(A, classes).detach())


def test_harmonics(spec: KernelSpec) -> None:
    unit = torch.nn.functional.normalize(torch.randn(7, 3, dtype=torch.float64), dim=1)
    close(harmonics(spec, unit.to(getattr(torch, spec.dtype))), spherical_harmonics(spec.lmax, unit))


@pytest.mark.parametrize("degree", [0, 1])
def test_first_and_second_derivatives_of_the_message(degree: int) -> None:
    batch = Batch(DOUBLE, degree)
    function, leaves = some_channels(batch.run, batch.inputs(), [2, 5, None, None])
    first, _ = some_channels(batch.run, batch.inputs(), [2, 5, None, None])
    assert torch.autograd.gradcheck(lambda *t: function(*t)[..., ::16], leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda *t: first(*t)[..., ::16], leaves, fast_mode=True)


def test_first_and_second_derivatives_of_the_product() -> None:
    generator = torch.Generator().manual_seed(3)
    A = torch.randn(3, 9, 32, dtype=torch.float64, generator=generator)
    slots = DOUBLE.products[1].slots
    coefficients = torch.randn(2, slots, 32, dtype=torch.float64, generator=generator)
    classes = torch.tensor([1, 0, 1])
    function, leaves = some_channels(lambda a, c: product(DOUBLE, 1, a, c, classes), [A, coefficients], [2, 2])
    assert torch.autograd.gradcheck(lambda *t: function(*t)[..., ::16], leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda *t: function(*t)[..., ::16], leaves, fast_mode=True)


def test_first_and_second_derivatives_of_harmonics() -> None:
    vectors = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    function = lambda v: harmonics(DOUBLE, torch.nn.functional.normalize(v, dim=1))  # noqa: E731
    assert torch.autograd.gradcheck(function, [vectors], fast_mode=True)
    assert torch.autograd.gradgradcheck(function, [vectors], fast_mode=True)


def test_derivatives_of_a_step_of_training_equal_those_of_plain_torch(spec: KernelSpec) -> None:
    """Forces in the first pass, parameters in the second: what each leaves out must not be missed."""
    batch, found = Batch(spec, 1), []
    for function, dtype in ((batch.run, batch.h.dtype), (batch.reference, torch.float64)):
        h, table, x, Y = (t.detach().to(dtype).requires_grad_() for t in batch.inputs())
        with derivatives("geometry"):
            energy = torch.tanh(0.1 * function(h, table, x, Y)).sum()
            by_x, by_Y = torch.autograd.grad(energy, [x, Y], create_graph=True)
        with derivatives("parameters"):
            loss = energy + (by_x**2).sum() + (by_Y**2).sum()
            found.append([g.detach() for g in torch.autograd.grad(loss, [h, table])])
    for ours, theirs in zip(*found, strict=True):
        close(ours, theirs)


def test_results_are_the_same_bits_each_time_and_nearly_the_same_for_any_number_of_threads(spec: KernelSpec) -> None:
    repeats = 8
    batch = Batch(spec, 1)
    shift = torch.arange(repeats).repeat_interleave(9) * 4
    senders = batch.senders.repeat(repeats) + shift
    ptr = torch.cat([torch.tensor([0]), (batch.ptr[1:] + 9 * torch.arange(repeats)[:, None]).flatten()])

    def gradients() -> list[Tensor]:
        h = batch.h.repeat(repeats, 1, 1).requires_grad_()
        leaves = [h, batch.table.clone().requires_grad_(), batch.x.repeat(repeats).requires_grad_()]
        which = batch.which.repeat(repeats)
        out = message(spec, 1, *leaves, batch.Y.repeat(repeats, 1), ptr, senders, which)
        return list(torch.autograd.grad((out**2).sum(), leaves))

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one, again = gradients(), gradients()
        torch.set_num_threads(3)
        three, thrice = gradients(), gradients()
    finally:
        torch.set_num_threads(threads)
    for a, b, c, d in zip(one, again, three, thrice, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(c, d)
        close(c, a)


def test_beyond_the_cutoff_nothing_and_of_nan_nan(spec: KernelSpec) -> None:
    batch = Batch(spec, 0)
    x = torch.full_like(batch.x, 1.0).requires_grad_()
    out = batch.run(batch.h, batch.table, x, batch.Y)
    (slope,) = torch.autograd.grad(out.sum(), x)
    assert not bool(out.any())
    assert not bool(slope.any())
    broken = batch.x.clone()
    broken[0] = torch.nan
    assert bool(batch.run(batch.h, batch.table, broken, batch.Y)[0].isnan().all())


def test_operators_can_be_traced(spec: KernelSpec) -> None:
    batch = Batch(spec, 1)
    leaves = tuple(batch.inputs())
    torch.library.opcheck(
        torch.ops.groundstate.message.default,
        (*leaves, batch.ptr, batch.senders, batch.which, spec.name, 1),
        test_utils=("test_schema", "test_faketensor"),
    )
    G, edges = batch.run(*leaves), (batch.ptr, batch.senders, batch.which)
    for flags in ((True, True), (True, False), (False, True)):
        torch.library.opcheck(
            torch.ops.groundstate.message_backward.default,
            (*leaves, *edges, G, spec.name, 1, *flags),
            test_utils=("test_schema", "test_faketensor"),
        )
    h, table, x, Y = leaves
    torch.library.opcheck(
        torch.ops.groundstate.message_second.default,
        (*leaves, *edges, G, h, table, x, Y, spec.name, 1, True),
        test_utils=("test_schema", "test_faketensor"),
    )
    A, coefficients = G[:, : spec.products[1].features].contiguous(), torch.ones_like(h[:1, :1])
    coefficients = coefficients.expand(1, spec.products[1].slots, -1).contiguous()
    classes = torch.zeros(len(A), dtype=torch.int64)
    atoms, P = (classes, torch.arange(len(A))), product(spec, 1, A, coefficients, classes)
    torch.library.opcheck(
        torch.ops.groundstate.product_second.default,
        (A, coefficients, *atoms, P, A, None, spec.name, 1),
        test_utils=("test_schema", "test_faketensor"),
    )
    torch.library.opcheck(
        torch.ops.groundstate.product_backward.default,
        (A, coefficients, *atoms, P, spec.name, 1, True),
        test_utils=("test_schema", "test_faketensor"),
    )


class Network(torch.nn.Module):
    """A message and a product, as an exported program would hold them."""

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self.batch = batch

    def forward(self, h: Tensor, table: Tensor, x: Tensor, Y: Tensor) -> Tensor:
        """Message, its first rows, product."""
        density = self.batch.run(h, table, x, Y)[:, : self.batch.spec.products[1].features]
        coefficients = torch.ones(1, self.batch.spec.products[1].slots, h.shape[2], dtype=h.dtype)
        return product(self.batch.spec, 1, density, coefficients, torch.zeros(len(h), dtype=torch.int64))


def test_a_network_can_be_exported_and_compiled(spec: KernelSpec) -> None:
    network = Network(Batch(spec, 1))
    inputs = tuple(network.batch.inputs())
    exported = torch.export.export(network, inputs)
    names = {str(node.target) for node in exported.graph.nodes}
    assert {"groundstate.message.default", "groundstate.product.default"} <= names
    assert torch.equal(exported.module()(*inputs), network(*inputs))
    batch, operator = (
        network.batch,
        torch.ops.groundstate.message.default,
    )  # the types of `message` are checked in tests

    def traced(*leaves: Tensor) -> Tensor:
        return operator(*leaves, batch.ptr, batch.senders, batch.which, spec.name, 1).sin()

    assert torch.equal(torch.compile(traced, backend="aot_eager", fullgraph=True)(*inputs), traced(*inputs))


def test_a_tensor_of_another_type_is_refused(spec: KernelSpec) -> None:
    batch = Batch(spec, 0)
    other = torch.float32 if spec.dtype == "float64" else torch.float64
    with pytest.raises(ValueError, match="KERNEL_TENSOR"):
        message(spec, 0, batch.h.to(other), batch.table, batch.x, batch.Y, batch.ptr, batch.senders)


@pytest.mark.parametrize(
    ("field", "value"),
    [("lmax", 5), ("hidden_lmax", 3), ("correlation", 4), ("channels", 24), ("dtype", "float16"), ("order", 4)],
)
def test_shapes_outside_the_range_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match="KERNEL_RANGE"):
        replace(DOUBLE, **{field: value})


def test_names_lead_back() -> None:
    for spec in (DOUBLE, SINGLE, replace(DOUBLE, order=3)):
        assert KernelSpec.parse(spec.name) == spec
    with pytest.raises(ValueError, match="KERNEL_NAME"):
        KernelSpec.parse("l3")


def falsified(library: Library, function: str) -> Library:
    """The library with one function that does nothing."""
    wrong = copy(library)
    vars(wrong)[function] = lambda *arguments: None
    return wrong


@pytest.mark.parametrize(
    "function", ["message_1_forward", "message_0_backward", "message_1_tangent", "product_1_second", "harmonics_value"]
)
def test_the_self_test_finds_a_wrong_kernel(spec: KernelSpec, function: str) -> None:
    library = operators_library(spec)
    assert isinstance(library, Library)
    assert check_operators(spec, library) is None
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.use_deterministic_algorithms(True)  # memory that a kernel leaves alone is then NaN
    try:
        wrong = check_operators(spec, falsified(library, function))
    finally:
        torch.use_deterministic_algorithms(False)
    assert wrong is not None
    assert "wrong" in wrong


@pytest.mark.slow
@pytest.mark.parametrize("target", supported_targets(), ids=lambda target: target.name)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 0, 3), (3, 2, 3), (4, 1, 2)], ids=str)
def test_every_instruction_set(target: object, dtype: str, shape: tuple[int, int, int]) -> None:
    spec = KernelSpec(*shape, 16, dtype)
    library = find(operators_plan(spec), target=target)  # type: ignore[arg-type]
    assert isinstance(library, Library), library
    assert check_operators(spec, library) is None


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(4, 2, 3, 16), (3, 1, 3, 48), (1, 1, 1, 128)], ids=str)
@pytest.mark.parametrize("order", [2, 3])
def test_corners_of_the_range(shape: tuple[int, int, int, int], order: int) -> None:
    spec = KernelSpec(*shape, "float64", order)
    library = operators_library(spec)  # its self-test compares values and two derivatives with plain torch
    assert isinstance(library, Library), library


def test_a_monomial_by_hand() -> None:
    program = DOUBLE.products[0]
    coefficients = torch.zeros(1, program.slots, 32, dtype=torch.float64)
    monomial = program.outputs[0][-1]
    coefficients[0, monomial.slot] = 2.0
    A = torch.randn(1, 9, 32, dtype=torch.float64)
    expected = 2.0 * A[:, list(monomial.factors)].prod(dim=1)
    classes = torch.tensor([0])
    torch.testing.assert_close(product_reference(program, A, coefficients, classes)[:, 0], expected)
    torch.testing.assert_close(product(DOUBLE, 0, A, coefficients, classes)[:, 0], expected)
