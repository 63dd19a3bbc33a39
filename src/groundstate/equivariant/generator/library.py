"""One library of kernels: which programs it holds, and its source text."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property

from groundstate.equivariant.generator.algebra import (
    CHANNEL_BLOCK,
    MAX_CORRELATION,
    MAX_HIDDEN,
    MAX_LMAX,
    MessageProgram,
    PolynomialProgram,
)
from groundstate.equivariant.generator.harmonics import harmonics_source
from groundstate.equivariant.generator.linear import linear_source
from groundstate.equivariant.generator.message import message_source
from groundstate.equivariant.generator.polynomial import polynomial_source
from groundstate.equivariant.generator.runtime import DTYPES, runtime_header
from groundstate.equivariant.native.target import Target


@dataclass(frozen=True)
class KernelSpec:
    """The kernels of one shape of network.

    lmax          highest degree of the harmonics and of A
    hidden_lmax   highest degree of the features atoms send, from the second layer on
    correlation   order of the symmetric contraction
    channels      a multiple of 16
    dtype         "float32" or "float64"
    order         numbers kept on each knot of a radial function: 2 (value, slope) or 3 (and curvature)
    """

    lmax: int
    hidden_lmax: int
    correlation: int
    channels: int
    dtype: str
    order: int = 2

    def __post_init__(self) -> None:
        if reason := self.out_of_range():
            raise ValueError(f"KERNEL_RANGE: {reason}. No kernels are generated for it. Use the plain torch operators.")

    def out_of_range(self) -> str:
        """Why the generator does not cover this shape; empty where it does."""
        for name, value, most in (
            ("lmax", self.lmax, MAX_LMAX),
            ("hidden_lmax", self.hidden_lmax, min(MAX_HIDDEN, self.lmax)),
            ("correlation", self.correlation, MAX_CORRELATION),
        ):
            if not 0 <= value <= most or (name == "correlation" and value < 1):
                return f"{name} {value} is beyond {most}"
        if self.channels < CHANNEL_BLOCK or self.channels % CHANNEL_BLOCK:
            return f"{self.channels} channels are not a multiple of {CHANNEL_BLOCK}"
        if self.dtype not in DTYPES:
            return f"dtype {self.dtype} is neither float32 nor float64"
        return "" if self.order in (2, 3) else f"order {self.order} is neither 2 nor 3"

    @property
    def name(self) -> str:
        """Readable and unique."""
        shape = f"l{self.lmax}-h{self.hidden_lmax}-c{self.correlation}-k{self.channels}"
        return f"{shape}-{self.dtype}" + ("" if self.order == 2 else "-quintic")

    @cached_property
    def messages(self) -> Mapping[int, MessageProgram]:
        """By the degree of the features."""
        return {l: _message(l, self.lmax) for l in sorted({0, self.hidden_lmax})}

    @cached_property
    def products(self) -> Mapping[int, PolynomialProgram]:
        """By the degree of the result."""
        return {l: _polynomial(self.lmax, l, self.correlation) for l in sorted({0, self.hidden_lmax})}

    def _kernels(self, target: Target, *, training: bool) -> str:
        """All kernels as functions local to the translation unit that includes them."""
        parts = ['#pragma once\n#include "runtime.hpp"\n', harmonics_source(self.lmax, training=training)]
        for l, message in self.messages.items():
            settings = (f"message_{l}", self.channels, target, self.dtype, self.order)
            parts.append(message_source(message, *settings, training=training))
        for l, product in self.products.items():
            parts.append(polynomial_source(product, f"product_{l}", self.channels, target, training=training))
        if not training:
            parts.append(linear_source(self.channels, target, self.dtype))
        return "\n".join(parts)

    def headers(self, target: Target) -> dict[str, str]:
        """`inference.hpp`, all a program needs that takes no derivative of a derivative, and what it includes."""
        return {
            "runtime.hpp": runtime_header(target, self.dtype, self.order),
            "inference.hpp": self._kernels(target, training=False),
        }

    def operators(self, target: Target) -> dict[str, str]:
        """The kernels with all derivatives behind a plain C interface, one translation unit."""
        operators = ['#include "training.hpp"\n', _HARMONICS]
        operators += [_MESSAGE.replace("NAME", f"message_{l}") for l in self.messages]
        operators += [_PRODUCT.replace("NAME", f"product_{l}") for l in self.products]
        return {
            "runtime.hpp": runtime_header(target, self.dtype, self.order),
            "training.hpp": self._kernels(target, training=True),
            "operators.cpp": "\n".join(operators),
        }

    @classmethod
    def parse(cls, name: str) -> "KernelSpec":
        """Inverse of `name`."""
        if match := _NAME.fullmatch(name):
            lmax, hidden, correlation, channels, dtype, quintic = match.groups()
            return cls(int(lmax), int(hidden), int(correlation), int(channels), dtype, 3 if quintic else 2)
        raise ValueError(f"KERNEL_NAME: '{name}' names no kernels. Names look like l3-h1-c3-k128-float32. Use `name`.")


@cache
def _message(lmax_features: int, lmax: int) -> MessageProgram:
    return MessageProgram(lmax_features, lmax, lmax)


@cache
def _polynomial(lmax_in: int, lmax_out: int, correlation: int) -> PolynomialProgram:
    return PolynomialProgram(lmax_in, lmax_out, correlation)


_NAME = re.compile(r"l(\d+)-h(\d+)-c(\d+)-k(\d+)-(float\d\d)(-quintic)?")

_HARMONICS = """\
extern "C" void harmonics_value(int64_t n, const real *u, real *Y) {
  for (int64_t e = 0; e < n; e++) harmonics::value(u + 3 * e, Y + harmonics::ROWS * e);
}
extern "C" void harmonics_backward(int64_t n, const real *u, const real *G, real *to_u) {
  for (int64_t e = 0; e < n; e++) harmonics::backward(u + 3 * e, G + harmonics::ROWS * e, to_u + 3 * e);
}
extern "C" void harmonics_tangent(int64_t n, const real *u, const real *du, real *dY) {
  for (int64_t e = 0; e < n; e++) harmonics::tangent(u + 3 * e, du + 3 * e, dY + harmonics::ROWS * e);
}
extern "C" void harmonics_second(int64_t n, const real *u, const real *du, const real *G, real *to_u) {
  for (int64_t e = 0; e < n; e++) harmonics::second(u + 3 * e, du + 3 * e, G + harmonics::ROWS * e, to_u + 3 * e);
}
"""

# Gradients that several receivers add to (of features, of tables) arrive as zeros; null pointers are not computed.
_MESSAGE = """\
extern "C" void NAME_forward(int64_t atoms, int64_t threads, const int64_t *ptr, const int64_t *senders,
                             const int32_t *which, const real *x, const real *Y, int64_t tables, int64_t intervals,
                             const real *table, const real *h, real *out) {
  const NAME::Edges edges{ptr, senders, which, x, Y};
  share_out(atoms, threads, [&](int64_t, int64_t first, int64_t last) {
    NAME::forward(first, last, edges, {table, intervals}, h, out);
  });
}
extern "C" void NAME_backward(int64_t atoms, int64_t threads, const int64_t *ptr, const int64_t *senders,
                              const int32_t *which, const real *x, const real *Y, int64_t tables, int64_t intervals,
                              const real *table, const real *h, const real *g, real *to_h, real *to_table, real *to_x,
                              real *to_Y) {
  const NAME::Edges edges{ptr, senders, which, x, Y};
  Copies hs(to_h, atoms * NAME::FEATURES * NAME::CHANNELS, threads);
  Copies ts(to_table, tables * (intervals + 1) * NAME::KNOT, threads);
  auto work = to_x && to_table ? NAME::backward_atoms<true, true>
              : to_x           ? NAME::backward_atoms<true, false>
                               : NAME::backward_atoms<false, true>;
  share_out(atoms, threads, [&](int64_t part, int64_t first, int64_t last) {
    work(first, last, edges, {table, intervals}, h, g, hs.of(part), ts.of(part), to_x, to_Y);
  });
  hs.join(threads);
  ts.join(threads);
}
extern "C" void NAME_tangent(int64_t atoms, int64_t threads, const int64_t *ptr, const int64_t *senders,
                             const int32_t *which, const real *x, const real *Y, int64_t tables, int64_t intervals,
                             const real *table, const real *h, const real *dh, const real *dx, const real *dY,
                             const real *dtable, real *out) {
  const NAME::Edges edges{ptr, senders, which, x, Y};
  auto work = dtable ? NAME::tangent_atoms<true> : NAME::tangent_atoms<false>;
  share_out(atoms, threads, [&](int64_t, int64_t first, int64_t last) {
    work(first, last, edges, {table, intervals}, h, dh, dx, dY, dtable, out);
  });
}
extern "C" void NAME_second(int64_t atoms, int64_t threads, const int64_t *ptr, const int64_t *senders,
                            const int32_t *which, const real *x, const real *Y, int64_t tables, int64_t intervals,
                            const real *table, const real *h, const real *g, const real *dh, const real *dx,
                            const real *dY, const real *dtable, real *to_h, real *to_table, real *to_x, real *to_Y) {
  const NAME::Edges edges{ptr, senders, which, x, Y};
  Copies hs(to_h, atoms * NAME::FEATURES * NAME::CHANNELS, threads);
  Copies ts(to_table, tables * (intervals + 1) * NAME::KNOT, threads);
  auto work = to_x && dtable ? NAME::second_atoms<true, true, true>
              : to_x         ? NAME::second_atoms<true, true, false>
              : dtable       ? NAME::second_atoms<false, true, true>
                             : NAME::second_atoms<false, true, false>;
  share_out(atoms, threads, [&](int64_t part, int64_t first, int64_t last) {
    work(first, last, edges, {table, intervals}, h, g, dh, dx, dY, dtable, hs.of(part), ts.of(part), to_x, to_Y);
  });
  hs.join(threads);
  ts.join(threads);
}
"""

_PRODUCT = """\
extern "C" void NAME_forward(int64_t atoms, int64_t threads, const int64_t *order, const int64_t *classes,
                             const real *A, const real *coefficients, real *P) {
  share_out(atoms, threads, [&](int64_t, int64_t first, int64_t last) {
    NAME::forward(first, last, order, classes, A, coefficients, P);
  });
}
extern "C" void NAME_backward(int64_t atoms, int64_t threads, const int64_t *order, const int64_t *classes,
                              int64_t n_classes, const real *A, const real *coefficients, const real *G, real *to_A,
                              real *to_coefficients) {
  Copies cs(to_coefficients, n_classes * NAME::SLOTS * NAME::CHANNELS, threads);
  auto work = to_A && to_coefficients ? NAME::backward_atoms<true, true>
              : to_A                  ? NAME::backward_atoms<true, false>
                                      : NAME::backward_atoms<false, true>;
  share_out(atoms, threads, [&](int64_t part, int64_t first, int64_t last) {
    work(first, last, order, classes, A, coefficients, G, to_A, cs.of(part));
  });
  cs.join(threads);
}
extern "C" void NAME_second(int64_t atoms, int64_t threads, const int64_t *order, const int64_t *classes,
                            int64_t n_classes, const real *A, const real *coefficients, const real *G, const real *dA,
                            const real *dcoefficients, real *to_G, real *to_A, real *to_coefficients) {
  Copies cs(to_coefficients, n_classes * NAME::SLOTS * NAME::CHANNELS, threads);
  auto work = dcoefficients ? NAME::second_atoms<true> : NAME::second_atoms<false>;
  share_out(atoms, threads, [&](int64_t part, int64_t first, int64_t last) {
    work(first, last, order, classes, A, coefficients, G, dA, dcoefficients, to_G, to_A, cs.of(part));
  });
  cs.join(threads);
}
"""
