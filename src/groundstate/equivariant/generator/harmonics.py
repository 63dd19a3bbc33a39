"""Spherical harmonics in C++: polynomials of a unit vector, and their derivatives."""

from groundstate.equivariant.generator.algebra import Polynomial, derivative, harmonic_polynomials
from groundstate.equivariant.generator.code import Code, number

_AXES = ("x", "y", "z")


def harmonics_source(lmax: int, *, training: bool) -> str:
    """Functions `harmonics::value` and `backward` of one vector, and those of training: `tangent`, `second`."""
    polynomials = harmonic_polynomials(lmax)
    slopes = [[derivative(p, axis) for p in polynomials] for axis in range(3)]
    code = Code()
    code.add(f"// Spherical harmonics of degree ≤ {lmax} of a unit vector u.")
    with code.block("namespace harmonics"):
        code.add(f"constexpr int64_t ROWS = {len(polynomials)};")
        with code.block("static inline void value(const real *u, real *Y)"):
            _powers(code, lmax)
            for i, p in enumerate(polynomials):
                code.add(f"Y[{i}] = {_written(p)};")
        code.add("// ∂⟨G, Y⟩/∂u")
        with code.block("static inline void backward(const real *u, const real *G, real *to_u)"):
            _powers(code, lmax - 1)
            for axis in range(3):
                terms = [f"G[{i}] * ({_written(p)})" for i, p in enumerate(slopes[axis]) if p]
                code.add(f"to_u[{axis}] = {' + '.join(terms) or 'real(0)'};")
        if training:
            code.add("// Ẏ along u̇")
            with code.block("static inline void tangent(const real *u, const real *du, real *dY)"):
                _powers(code, lmax - 1)
                for i in range(len(polynomials)):
                    terms = [f"du[{axis}] * ({_written(slopes[axis][i])})" for axis in range(3) if slopes[axis][i]]
                    code.add(f"dY[{i}] = {' + '.join(terms) or 'real(0)'};")
            code.add("// ∂⟨G, Ẏ⟩/∂u")
            with code.block("static inline void second(const real *u, const real *du, const real *G, real *to_u)"):
                _powers(code, lmax - 2)
                code.add("to_u[0] = to_u[1] = to_u[2] = 0;")
                for i in range(len(polynomials)):
                    for axis in range(3):
                        terms = []
                        for other in range(3):
                            if curvature := derivative(slopes[other][i], axis):
                                terms.append(f"du[{other}] * ({_written(curvature)})")
                        if terms:
                            code.add(f"to_u[{axis}] += G[{i}] * ({' + '.join(terms)});")
    return str(code)


def _powers(code: Code, highest: int) -> None:
    for axis, name in enumerate(_AXES):
        code.add(f"const real {name}1 = u[{axis}]; (void){name}1;")
        for n in range(2, highest + 1):
            code.add(f"const real {name}{n} = {name}{n - 1} * {name}1;")


def _written(polynomial: Polynomial) -> str:
    terms = []
    for exponents, value in sorted(polynomial.items()):
        factors = [f"{name}{n}" for name, n in zip(_AXES, exponents, strict=True) if n]
        terms.append("*".join([number(value), *factors]))
    return " + ".join(terms) or "real(0)"
