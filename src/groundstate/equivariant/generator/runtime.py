"""What all generated C++ shares: vector types, reductions, the interpolation of radial functions, threads."""

import numpy as np

from groundstate.equivariant.generator.code import Code, number
from groundstate.equivariant.native.target import Target

DTYPES = {"float32": ("float", 4), "float64": ("double", 8)}
"""Number types of kernels: their C++ name and size in bytes."""

_HERMITE: dict[int, list[list[float]]] = {
    2: [[1, 0, -3, 2], [0, 1, -2, 1], [0, 0, 3, -2], [0, 0, -1, 1]],
    3: [
        [1, 0, 0, -10, 15, -6],
        [0, 1, 0, -6, 8, -3],
        [0, 0, 0.5, -1.5, 1.5, -0.5],
        [0, 0, 0, 10, -15, 6],
        [0, 0, 0, -4, 7, -3],
        [0, 0, 0, 0.5, -1, 0.5],
    ],
}


def hermite(order: int) -> list[np.polynomial.Polynomial]:
    """Basis on [0, 1] for `order` derivatives (value counted) at its left end, then at its right end.

    Order 2 is the cubic interpolation, with one continuous derivative, order 3 the quintic, with two.
    """
    return [np.polynomial.Polynomial(coefficients) for coefficients in _HERMITE[order]]


def lanes(target: Target, dtype: str) -> int:
    """Numbers in one vector."""
    return target.vector_bytes // DTYPES[dtype][1]


def runtime_header(target: Target, dtype: str, order: int) -> str:
    """`runtime.hpp`: `real`, `vec`, `load`, `store`, `add_across`, `Interpolation`, `share_out`."""
    code = Code()
    width = lanes(target, dtype)
    code.add(
        "#pragma once",
        "#include <cmath>",
        "#include <cstdint>",
        "#include <cstring>",
        "#include <algorithm>",
        "#include <functional>",
        "#include <thread>",
        "#include <vector>",
        "",
        f"using real = {DTYPES[dtype][0]};",
        f"constexpr int64_t WIDTH = {width};  // numbers in a vector",
        "constexpr int64_t CHANNEL_BLOCK = 16;  // channels that lie together in a table of radial functions",
        f"constexpr int64_t ORDER = {order};  // value and derivatives kept on each knot",
        f"typedef real vec __attribute__((vector_size({target.vector_bytes}), aligned(sizeof(real)), may_alias));",
        f"typedef {'int32_t' if dtype == 'float32' else 'int64_t'} lanes"
        f" __attribute__((vector_size({target.vector_bytes})));",
        "#ifdef __clang__",
        "#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)",
        "#else  // known to GCC of all versions",
        "#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (lanes){__VA_ARGS__})",
        "#endif",
        "static inline vec load(const real *p) { return *(const vec *)p; }",
        "static inline void store(real *p, vec v) { *(vec *)p = v; }",
        "static inline void add_to(real *p, vec v) { store(p, load(p) + v); }",
        "",
    )
    _add_across(code, width)
    _interpolation(code, order)
    code.add(_THREADS)
    return str(code)


def _add_across(code: Code, width: int) -> None:
    """Sums over lanes of `width` vectors at once: pairs are shuffled together and added, halving their number."""
    code.add("// Lane i of the result is the sum over the lanes of v[i].")
    with code.block("static inline vec add_across(const vec *v)"):
        code.add(f"vec t[{width}];")
        source, n, step = "v", width, width // 2
        while n > 1:
            low = [i if (i // step) % 2 == 0 else width + i for i in range(width)]
            high = [(i ^ step) if (i // step) % 2 == 0 else width + (i ^ step) for i in range(width)]
            for i in range(n // 2):
                pair = f"{source}[{i}], {source}[{i + n // 2}]"
                shuffled = [f"SHUFFLE({pair}, {', '.join(map(str, lane))})" for lane in (low, high)]
                code.add(f"t[{i}] = {shuffled[0]} + {shuffled[1]};")
            source, n, step = "t", n // 2, step // 2
        code.add("return t[0];")
    code.add("")


def _interpolation(code: Code, order: int) -> None:
    basis = hermite(order)
    code.add(
        "// Where a coordinate x in [0, 1] lies between knots, and the weights of what is kept on both knots for the",
        "// function, its slope and its curvature in x. From x = 1 on all are 0; of a NaN all are NaN.",
    )
    with code.block("struct Interpolation", ";"):
        code.add("int64_t knot;", f"real value[{2 * order}], slope[{2 * order}], curvature[{2 * order}];")
        with code.block("void set(real x, int64_t intervals)"):
            code.add(
                "const real scale = real(intervals), position = x * scale;",
                "const bool inside = x >= 0 && x < 1;",
                "knot = inside ? std::min(int64_t(position), intervals - 1) : 0;",
                "const real t = inside ? position - real(knot) : (x >= 1 ? real(0) : real(NAN));",
                "const real on = x >= 1 ? real(0) : real(1);",
            )
            for name, n in (("value", 0), ("slope", 1), ("curvature", 2)):
                for j, polynomial in enumerate(basis):
                    power = n - j % order
                    factor = (
                        "*".join(["on"] + ["scale"] * power) if power >= 0 else "on/" + "/".join(["scale"] * -power)
                    )
                    coefficients = (polynomial.deriv(n) if n else polynomial).coef
                    value = number(float(coefficients[-1]))
                    for c in coefficients[-2::-1]:
                        value = f"({value}*t + {number(float(c))})"
                    code.add(f"{name}[{j}] = {factor}*{value};")
    code.add("")


_THREADS = """\
// Calls work(part, first, last) for `parts` ranges of [0, n), each on a thread of its own.
template <class Work> static void share_out(int64_t n, int64_t parts, const Work &work) {
  parts = std::max<int64_t>(1, std::min(parts, n));
  std::vector<std::thread> threads;
  for (int64_t part = 1; part < parts; part++)
    threads.emplace_back([&, part] { work(part, n * part / parts, n * (part + 1) / parts); });
  work(0, 0, n / parts);
  for (auto &thread : threads) thread.join();
}

// Results that several threads add to: one copy each but for the first, added up in the order of the threads.
struct Copies {
  real *result;
  int64_t size;
  std::vector<std::vector<real>> others;
  Copies(real *result, int64_t size, int64_t parts)
      : result(result), size(size), others(std::max<int64_t>(parts, 1) - 1) {}
  real *of(int64_t part) {
    if (part == 0 || result == nullptr) return result;
    others[part - 1].assign(size, real(0));
    return others[part - 1].data();
  }
  void join(int64_t parts) {
    if (result == nullptr || others.empty()) return;
    share_out(size, parts, [&](int64_t, int64_t first, int64_t last) {
      for (auto &other : others)
        if (!other.empty())
          for (int64_t i = first; i < last; i++) result[i] += other[i];
    });
  }
};
"""
