"""How much arithmetic and traffic an evaluation of a MACE needs, counted from the programs that kernels are made of.

A fused multiply-add is two operations. What is counted is what cannot be avoided by an evaluation of energy, forces and
stress in this formulation: consecutive linear maps are one, nothing is computed twice that the backward pass does not
have to recompute. The geometry of an edge, its harmonics and the readouts, about a hundredth of the whole, are not.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from groundstate.equivariant.generator.algebra import Branch, MessageProgram, PolynomialProgram
from groundstate.equivariant.irreps import dimension


@dataclass(frozen=True)
class Work:
    """Operations for one atom, of the energy (forward) and of what its gradient adds (backward)."""

    forward: float
    backward: float

    @property
    def total(self) -> float:
        """Both passes."""
        return self.forward + self.backward

    def __add__(self, other: "Work") -> "Work":
        return Work(self.forward + other.forward, self.backward + other.backward)


@dataclass(frozen=True)
class Shape:
    """What decides the cost of a MACE; names as in its configuration, `order` numbers kept on each knot of a table."""

    channels: int = 128
    lmax: int = 3
    hidden_lmax: int = 1
    correlation: int = 3
    layers: int = 2
    order: int = 2

    @property
    def messages(self) -> tuple[MessageProgram, ...]:
        """The message of each layer; the first sees the embedding of the elements only."""
        degrees = [0] + [self.hidden_lmax] * (self.layers - 1)
        return tuple(MessageProgram(degree, self.lmax, self.lmax) for degree in degrees)

    @property
    def products(self) -> tuple[PolynomialProgram, ...]:
        """The symmetric contraction of each layer; the last gives invariants only."""
        degrees = [self.hidden_lmax] * (self.layers - 1) + [0]
        return tuple(PolynomialProgram(self.lmax, degree, self.correlation) for degree in degrees)


def interpolation(order: int) -> int:
    """Operations for one channel: the sum of 2·order numbers of two knots, each times its weight."""
    return _sum(2 * order, starts_from_value=False)


def message(program: MessageProgram, channels: int, neighbours: float, *, order: int = 2, moving: bool = True) -> Work:
    """A message with its radial functions read from a table, summed over the neighbours of an atom.

    Forward, for an edge and channel: R by interpolation; R h for every feature component of a path; one multiply-add
    for each nonzero B. Backward, with g the gradient of the sums: Bᵀg for every feature component of a path; from it
    the gradient of R, that times the slope of R, and, where features are `moving` with the positions, the gradient of
    h; Σ_channels (R h) g for every nonzero B. Once for an edge: B from the harmonics, and back.
    """
    paths = len(program.paths)
    inputs = len({(c.path, c.m_feature) for c in program.couplings})
    couplings = len(program.couplings)
    terms = sum(len(c.terms) for c in program.couplings)
    forward = interpolation(order) * paths + inputs + 2 * couplings
    transposed = 2 * couplings - inputs
    radial_gradient = (2 * inputs - paths) + 2 * interpolation(order) * paths + 2 * paths
    feature_gradient = 2 * inputs if moving else 0
    harmonic_gradient = inputs + 2 * couplings
    backward = transposed + radial_gradient + feature_gradient + harmonic_gradient
    return Work(
        neighbours * (channels * forward + 2 * terms - couplings),
        neighbours * (channels * backward + 2 * terms),
    )


def contraction(program: PolynomialProgram, channels: int) -> Work:
    """The symmetric contraction by Horner's rule over its trees, and the gradient of the density features.

    Backward the inner sums are formed again; every branch adds to the gradient of its factor, and one with children
    hands them its share.
    """
    forward = inner = 0
    branches = parents = 0
    for tree in program.trees:
        forward += _sum(len(tree), starts_from_value=False)
        for branch in _walk(tree):
            branches += 1
            if branch.children:
                parents += 1
                inner += _sum(len(branch.children), starts_from_value=branch.slot is not None)
    return Work(float(channels * (forward + inner)), float(channels * (inner + 2 * branches + parents)))


def linear(rows: int, channels: int) -> Work:
    """Rows of an atom times a matrix of the channels, and its transpose."""
    cost = 2.0 * rows * channels**2
    return Work(cost, cost)


def linear_rows(shape: Shape) -> int:
    """Rows of an atom that pass through a matrix.

    After each message its rows; after each product the map that ends this layer and begins the next message, as one,
    and the features themselves where they are read out or carried on; the carried ones once more, by element.
    """
    last = shape.layers - 1
    rows = 0
    for layer, program in enumerate(shape.messages):
        rows += program.rows
        if layer == last:
            rows += 1
        else:
            carried = 1 if layer + 1 == last else dimension(shape.hidden_lmax)
            rows += dimension(shape.hidden_lmax) + 2 * carried
    return rows


def evaluation(shape: Shape, neighbours: float) -> dict[str, Work]:
    """Energy, forces and stress, by part, for an atom with that many neighbours on average."""
    parts = {}
    for layer, (sent, product) in enumerate(zip(shape.messages, shape.products, strict=True), start=1):
        parts[f"message {layer}"] = message(sent, shape.channels, neighbours, order=shape.order, moving=layer > 1)
        parts[f"product {layer}"] = contraction(product, shape.channels)
    parts["linear maps"] = linear(linear_rows(shape), shape.channels)
    return parts


def traffic(shape: Shape, neighbours: float, itemsize: int) -> dict[str, float]:
    """Bytes for an atom that energy, forces and stress must move, numbers of `itemsize` bytes.

    tables    radial tables read by every edge in both passes: from cache, they are shared by all atoms
    gathers   features of neighbours read in both passes, their gradients added in the second: cache or memory
    nodes     arrays of atoms that live from one pass or layer to the next, each written and read once: memory
    """
    tables = gathers = nodes = 0
    for layer, program in enumerate(shape.messages):
        tables += 2 * (2 * shape.order) * len(program.paths)
        gathers += (2 if layer == 0 else 4) * program.features
        nodes += 2 * dimension(shape.lmax) + (2 if layer == 0 else 4) * program.features
    per_number = shape.channels * itemsize
    return {
        "tables": neighbours * tables * per_number,
        "gathers": neighbours * gathers * per_number,
        "nodes": float(nodes * per_number),
    }


def _sum(terms: int, *, starts_from_value: bool) -> int:
    """Operations of a sum of products; the first is a bare product where there is nothing yet to add it to."""
    return 2 * terms - (0 if starts_from_value or terms == 0 else 1)


def _walk(tree: tuple[Branch, ...]) -> Iterator[Branch]:
    for branch in tree:
        yield branch
        yield from _walk(branch.children)
