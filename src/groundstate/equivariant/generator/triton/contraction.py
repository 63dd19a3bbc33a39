"""Triton text of the symmetric contraction: Horner trees walked once, their values going up and derivatives down.

One warp per atom, block of `BK` channels and part of an output row. A factor of the tree is a component of A in a
register; coefficients are read where a monomial ends, contiguous in the channel.

A large program is compiled and launched in parts, which add up in the order of their numbers: Triton's choice of memory
layouts follows values from load to load, in a time that grows with about the cube of the length of a kernel.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from groundstate.equivariant.generator.algebra import Branch, PolynomialProgram
from groundstate.equivariant.generator.triton.text import Source

MONOMIALS_OF_A_PART = 112
"""Longest chain that is not cut, if it has several branches: a row of the usual shape (lmax 3, order 3) stays whole."""

SLOTS_OF_A_GROUP = 32
"""Coefficients whose gradients are kept in registers at a time."""


class Part(NamedTuple):
    """Some branches of an output row."""

    row: int
    branches: tuple[Branch, ...]


@cache
def parts(program: PolynomialProgram) -> tuple[Part, ...]:
    """What one launch treats, by row; at least one part for each row."""
    found = []
    for row, tree in enumerate(program.trees):
        taken: tuple[Branch, ...] = ()
        for branch in tree:
            if taken and _slots((*taken, branch)) > MONOMIALS_OF_A_PART:
                found.append(Part(row, taken))
                taken = ()
            taken = (*taken, branch)
        found.append(Part(row, taken))
    return tuple(found)


def _slots(branches: tuple[Branch, ...]) -> int:
    return sum((branch.slot is not None) + _slots(branch.children) for branch in branches)


def emit_contraction(program: PolynomialProgram) -> str:
    """All kernels of one program.

    contraction_forward, contraction_backward (gradient by A) and contraction_second (tangent, and gradient by A of
    <g, tangent>; in `_full` the coefficients have a direction too), contraction_coefficients and `_second` (gradients
    by c of a piece of the atoms of one class), which coefficients_sum adds. All but the last are launched for each PART
    of `parts`, or each GROUP of `SLOTS_OF_A_GROUP` coefficients, in that order.

    Checked: tests/equivariant/triton_kernels/test_contraction.py
    """
    source = Source(f"Contraction of {program}.")
    _forward(source, program)
    _backward(source, program)
    for with_coefficients in (False, True):
        _second(source, program, with_coefficients=with_coefficients)
    for second in (False, True):
        _coefficients(source, program, second)
    _coefficients_sum(source)
    return str(source)


def _parts(source: Source, program: PolynomialProgram) -> Iterator[tuple[int, Part, list[int]]]:
    """Inside each: its number, the part and the components of A that it has."""
    source.add("i = tl.program_id(0).to(tl.int64)", "k = tl.program_id(1) * BK + tl.arange(0, BK)")
    source.add(f"at = tl.load(classes + i) * (K * {program.slots}) + k")
    for n, part in enumerate(parts(program)):
        with source.block(f"if PART == {n}:"):
            yield n, part, sorted(_factors(part.branches))


def _load(source: Source, program: PolynomialProgram, name: str, pointer: str, used: list[int]) -> None:
    source.add(*(f"{name}{f} = tl.load({pointer} + i * (K * {program.features}) + K * {f} + k)" for f in used))


def _store_value(source: Source, program: PolynomialProgram, pointer: str, number: int, part: Part, name: str) -> None:
    """Of a row, after the parts before it."""
    source.add(f"to = {pointer} + i * (K * {program.rows}) + K * {part.row} + k")
    continued = number > 0 and parts(program)[number - 1].row == part.row
    value = name if part.branches else f"tl.zeros([BK], {pointer}.dtype.element_ty)"
    source.add(f"tl.store(to, {'tl.load(to) + ' if continued else ''}{value})")


def _store_gradient(source: Source, program: PolynomialProgram, pointer: str, number: int, used: list[int]) -> None:
    """Added to that of the parts before; the first writes every component."""
    source.add(f"to = {pointer} + i * (K * {program.features}) + k")
    if number == 0:
        idle = sorted(set(range(program.features)) - set(used))
        source.add(*(f"tl.store(to + K * {f}, tl.zeros([BK], {pointer}.dtype.element_ty))" for f in idle))
    before = (f"tl.load(to + K * {f}) + " if number else "" for f in used)
    source.add(*(f"tl.store(to + K * {f}, {sum_}d{f})" for f, sum_ in zip(used, before, strict=True)))


def _factors(branches: tuple[Branch, ...]) -> set[int]:
    return {b.factor for b in branches} | {f for b in branches for f in _factors(b.children)}


def _forward(source: Source, program: PolynomialProgram) -> None:
    with source.kernel("contraction_forward", ("A", "c", "classes", "out"), ("K", "BK", "PART")):
        for number, part, used in _parts(source, program):
            _load(source, program, "a", "A", used)
            _value(source, part.branches, 0)
            _store_value(source, program, "out", number, part, "s0")


def _value(source: Source, branches: tuple[Branch, ...], depth: int) -> None:
    """s{depth} = Σ A_factor · value of the branch."""
    for n, branch in enumerate(branches):
        if branch.children:
            _value(source, branch.children, depth + 1)
        value = _ended(branch, "c", f"s{depth + 1}")
        source.add(f"s{depth} {'+=' if n else '='} a{branch.factor} * {value}")


def _ended(branch: Branch, pointer: str, inner: str) -> str:
    """Value of a branch whose children have the sum `inner`."""
    here = None if branch.slot is None else f"tl.load({pointer} + at + K * {branch.slot})"
    if here is None:
        return inner
    return f"({inner} + {here})" if branch.children else here


def _backward(source: Source, program: PolynomialProgram) -> None:
    with source.kernel("contraction_backward", ("A", "c", "classes", "g", "gA"), ("K", "BK", "PART")):
        for number, part, used in _parts(source, program):
            _load(source, program, "a", "A", used)
            source.add(*(f"d{f} = tl.zeros([BK], gA.dtype.element_ty)" for f in used))
            source.add(f"p0 = tl.load(g + i * (K * {program.rows}) + K * {part.row} + k)")
            _adjoint(source, part.branches, 0)
            _store_gradient(source, program, "gA", number, used)


def _adjoint(source: Source, branches: tuple[Branch, ...], depth: int) -> None:
    """Given p{depth} = ∂/∂(this sum), adds to d{factor}; leaves the value in s{depth}, but for the root."""
    for n, branch in enumerate(branches):
        if branch.children:
            source.add(f"p{depth + 1} = p{depth} * a{branch.factor}")
            _adjoint(source, branch.children, depth + 1)
        source.add(f"v = {_ended(branch, 'c', f's{depth + 1}')}", f"d{branch.factor} += p{depth} * v")
        if depth:
            source.add(f"s{depth} {'+=' if n else '='} a{branch.factor} * v")


def _second(source: Source, program: PolynomialProgram, *, with_coefficients: bool) -> None:
    name = "contraction_second" + ("_full" if with_coefficients else "")
    directions = ("vA", "vc") if with_coefficients else ("vA",)
    with source.kernel(name, ("A", "c", "classes", "g", *directions, "dg", "dA"), ("K", "BK", "PART")):
        for number, part, used in _parts(source, program):
            _load(source, program, "a", "A", used)
            _load(source, program, "b", "vA", used)
            source.add(*(f"d{f} = tl.zeros([BK], dA.dtype.element_ty)" for f in used))
            source.add(f"q0 = tl.load(g + i * (K * {program.rows}) + K * {part.row} + k)")
            _tangent_adjoint(source, part.branches, 0, with_coefficients)
            _store_value(source, program, "dg", number, part, "t0")
            _store_gradient(source, program, "dA", number, used)


def _tangent_adjoint(source: Source, branches: tuple[Branch, ...], depth: int, with_coefficients: bool) -> None:
    """Given the adjoints p of this sum (zero at the root) and q of its tangent; leaves value s and tangent t."""
    for n, branch in enumerate(branches):
        factor, sign = branch.factor, "+=" if n else "="
        if branch.children:
            from_root = f" + p{depth} * a{factor}" if depth else ""
            source.add(f"p{depth + 1} = q{depth} * b{factor}{from_root}", f"q{depth + 1} = q{depth} * a{factor}")
            _tangent_adjoint(source, branch.children, depth + 1, with_coefficients)
        source.add(f"v = {_ended(branch, 'c', f's{depth + 1}')}")
        moving = with_coefficients or bool(branch.children)
        if moving:
            changed = _ended(branch, "vc", f"t{depth + 1}") if with_coefficients else f"t{depth + 1}"
            source.add(f"w = {changed}", f"d{factor} += q{depth} * w")
        if depth:
            source.add(f"d{factor} += p{depth} * v", f"s{depth} {sign} a{factor} * v")
        source.add(f"t{depth} {sign} b{factor} * v" + (f" + a{factor} * w" if moving else ""))


def _coefficients(source: Source, program: PolynomialProgram, second: bool) -> None:
    name = "contraction_coefficients" + ("_second" if second else "")
    tensors = ("A", "g", *(("vA",) if second else ()), "order", "begin", "end", "out")
    with source.kernel(name, tensors, ("K", "BK", "GROUP")):
        for first in range(0, program.slots, SLOTS_OF_A_GROUP):
            slots = range(first, min(first + SLOTS_OF_A_GROUP, program.slots))
            with source.block(f"if GROUP == {first // SLOTS_OF_A_GROUP}:"):
                _coefficient_group(source, program, slots, second)


def _coefficient_group(source: Source, program: PolynomialProgram, slots: range, second: bool) -> None:
    trees = [_pruned(tree, slots) for tree in program.trees]
    used = sorted({f for tree in trees for f in _factors(tree)})
    source.add("piece = tl.program_id(0).to(tl.int64)", "k = tl.program_id(1) * BK + tl.arange(0, BK)")
    source.add(*(f"c{slot} = tl.zeros([BK], out.dtype.element_ty)" for slot in slots))
    with source.block("for n in range(tl.load(begin + piece), tl.load(end + piece)):"):
        source.add("i = tl.load(order + n)")
        _load(source, program, "a", "A", used)
        if second:
            _load(source, program, "b", "vA", used)
        for row, tree in enumerate(trees):
            if tree:
                root = "q0" if second else "p0"
                source.add(f"{root} = tl.load(g + i * (K * {program.rows}) + K * {row} + k)")
                _products(source, tree, slots, 0, second)
    source.add(*(f"tl.store(out + (piece * {program.slots} + {slot}) * K + k, c{slot})" for slot in slots))


def _pruned(branches: tuple[Branch, ...], slots: range) -> tuple[Branch, ...]:
    """The branches that lead to one of these slots."""
    kept = (Branch(b.factor, b.slot, _pruned(b.children, slots)) for b in branches)
    return tuple(b for b in kept if b.children or b.slot in slots)


def _products(source: Source, branches: tuple[Branch, ...], slots: range, depth: int, second: bool) -> None:
    """p: cotangent times the factors so far, or the change of that along vA, where q is the product itself."""
    for branch in branches:
        factor, below = branch.factor, f"p{depth + 1}"
        if second:
            from_root = f" + p{depth} * a{factor}" if depth else ""
            source.add(f"{below} = q{depth} * b{factor}{from_root}")
            if branch.children:
                source.add(f"q{depth + 1} = q{depth} * a{factor}")
        else:
            source.add(f"{below} = p{depth} * a{factor}")
        if branch.slot is not None and branch.slot in slots:
            source.add(f"c{branch.slot} += {below}")
        _products(source, branch.children, slots, depth + 1, second)


def _coefficients_sum(source: Source) -> None:
    with source.kernel("coefficients_sum", ("pieces", "first", "out"), ("BLOCK",), "SIZE"):
        source.add("z = tl.program_id(0).to(tl.int64)", "n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)")
        source.add("total = tl.zeros([BLOCK], out.dtype.element_ty)")
        with source.block("for piece in range(tl.load(first + z), tl.load(first + z + 1)):"):
            source.add("total += tl.load(pieces + piece * SIZE + n, mask=n < SIZE, other=0.0)")
        source.add("tl.store(out + z * SIZE + n, total, mask=n < SIZE)")
