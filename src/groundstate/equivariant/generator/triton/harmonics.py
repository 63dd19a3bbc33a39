"""Triton text of spherical harmonics as polynomials of a unit vector: one edge per lane."""

from collections.abc import Callable

from groundstate.equivariant.generator.algebra import Polynomial, derivative, harmonic_polynomials
from groundstate.equivariant.generator.triton.text import Source

_AXES = "xyz"


def emit_harmonics(lmax: int) -> str:
    """harmonics_forward (Y), harmonics_vjp (gu from gY), harmonics_jvp (vY from v), harmonics_second.

    The last is for ψ = <v, gu>: its gradients by gY, which is the jvp, and by u. Polynomials and their derivatives are
    those of `harmonic_polynomials`. Checked: tests/equivariant/triton_kernels/test_harmonics.py
    """
    source = Source(f"Spherical harmonics to degree {lmax}.")
    polynomials = harmonic_polynomials(lmax)
    slopes = [[derivative(polynomial, axis) for axis in range(3)] for polynomial in polynomials]
    size = len(polynomials)

    def vector(name: str, pointer: str) -> None:
        for axis, letter in enumerate(_AXES):
            source.add(f"{name}{letter} = tl.load({pointer} + 3 * e + {axis}, mask=inside, other=0.0)")

    def cotangent(n: int) -> None:
        source.add(f"g = tl.load(gY + {size} * e + {n}, mask=inside, other=0.0)")

    def kernel(name: str, tensors: tuple[str, ...], body: Callable[[], None]) -> None:
        with source.kernel(name, tensors, ("BLOCK",), "E"):
            source.add("e = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)", "inside = e < E")
            vector("", "u")
            _monomials(source, polynomials)
            body()

    def forward() -> None:
        for n, polynomial in enumerate(polynomials):
            source.add(f"tl.store(Y + {size} * e + {n}, {_text(polynomial)}, mask=inside)")

    def jvp(out: str) -> None:
        for n in range(size):
            change = " + ".join(f"({_text(slopes[n][axis])}) * v{_AXES[axis]}" for axis in range(3) if slopes[n][axis])
            value = change or "tl.zeros([BLOCK], u.dtype.element_ty)"
            source.add(f"tl.store({out} + {size} * e + {n}, {value}, mask=inside)")

    def gradient(out: str, change: Callable[[int, int], str]) -> None:
        source.add(*(f"d{letter} = tl.zeros([BLOCK], u.dtype.element_ty)" for letter in _AXES))
        for n in range(size):
            added = [(letter, change(n, axis)) for axis, letter in enumerate(_AXES)]
            if any(text for _, text in added):
                cotangent(n)
                source.add(*(f"d{letter} += g * ({text})" for letter, text in added if text))
        source.add(*(f"tl.store({out} + 3 * e + {n}, d{a}, mask=inside)" for n, a in enumerate(_AXES)))

    def vjp() -> None:
        gradient("gu", lambda n, axis: _text(slopes[n][axis]) if slopes[n][axis] else "")

    def directed() -> None:
        vector("v", "v")
        jvp("vY")

    def bent(n: int, axis: int) -> str:
        curved = [(derivative(slopes[n][axis], other), _AXES[other]) for other in range(3)]
        return " + ".join(f"({_text(polynomial)}) * v{letter}" for polynomial, letter in curved if polynomial)

    def second() -> None:
        vector("v", "v")
        jvp("dgY")
        gradient("du", bent)

    kernel("harmonics_forward", ("u", "Y"), forward)
    kernel("harmonics_vjp", ("u", "gY", "gu"), vjp)
    kernel("harmonics_jvp", ("u", "v", "vY"), directed)
    kernel("harmonics_second", ("u", "gY", "v", "dgY", "du"), second)
    return str(source)


def _monomials(source: Source, polynomials: tuple[Polynomial, ...]) -> None:
    """Every monomial that occurs, and those it is made from, by one multiplication each; derivatives have no others."""
    made: set[tuple[int, int, int]] = {(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)}

    def make(exponents: tuple[int, int, int]) -> None:
        if exponents in made:
            return
        axis = next(n for n in range(3) if exponents[n])
        lower = _lowered(exponents, axis)
        make(lower)
        made.add(exponents)
        source.add(f"{_monomial(exponents)} = {_AXES[axis]} * {_monomial(lower)}")

    needed = [exponents for polynomial in polynomials for exponents in polynomial]
    while needed:  # each with everything that its derivatives can ask for
        exponents = needed.pop()
        make(exponents)
        below = (_lowered(exponents, axis) for axis in range(3) if exponents[axis])
        needed += [lower for lower in below if lower not in made]


def _lowered(exponents: tuple[int, int, int], axis: int) -> tuple[int, int, int]:
    a, b, c = (value - (n == axis) for n, value in enumerate(exponents))
    return a, b, c


def _monomial(exponents: tuple[int, int, int]) -> str:
    return "".join(letter * power for letter, power in zip(_AXES, exponents, strict=True))


def _text(polynomial: Polynomial) -> str:
    return " + ".join(
        f"{float(value)!r} * {_monomial(exponents)}" if any(exponents) else repr(float(value))
        for exponents, value in polynomial.items()
    )
