"""Triton text of the message: gather, radial function, tensor product and sum over the edges of an atom in one kernel.

One warp per atom and block of `BK` channels, each lane with a few channels; the edges of the atom one after the other.
B = C·Y is a set of scalars, made once per edge and block. A program that keeps more output rows than registers hold is
cut into groups of paths, which run side by side on the third axis of the grid.
"""

from collections.abc import Iterable, Sequence

from groundstate.equivariant.generator.algebra import CHANNEL_BLOCK, FoldedCoupling, MessageProgram
from groundstate.equivariant.generator.runtime import hermite
from groundstate.equivariant.generator.triton.groups import feature_groups, path_groups, rows_of_path
from groundstate.equivariant.generator.triton.text import Source, linear, products

_EDGES = ("h", "table", "which", "x", "Y")
_TANGENT = ("vh", "vx", "vY", "vtable")
_CONSTANTS = ("K", "KN", "BK")


def emit_message(program: MessageProgram, depth: int) -> str:
    """All kernels of one program; depth 2: cubic Hermite tables (value, slope), 3: quintic (and curvature).

    message_forward and message_tangent give M and dM by receiver, message_features the gradient by h by sender (each
    over the edges that leave an atom), message_geometry the gradients by x and Y of each edge, message_table moments of
    the gradient by the table for each piece of an interval, which table_sum adds. Those in `_second` are the gradients
    of the tangent, <G, dM>. Checked: tests/equivariant/triton_kernels/test_message.py
    """
    if depth not in (2, 3):
        raise ValueError(
            f"EQUIVARIANT_TABLE: {depth} numbers on a knot. Tables are cubic (2) or quintic (3). Give 2 or 3."
        )
    emitter = _MessageEmitter(program, depth)
    for second in (False, True):
        emitter.forward(tangent=second)
        emitter.features(second)
        emitter.geometry(second)
        emitter.table(second)
    emitter.table_sum()
    return str(emitter.source)


class _MessageEmitter:
    """Writes the kernels; `second` or `tangent` says that a direction (vh, vx, vY and perhaps vtable) is given."""

    def __init__(self, program: MessageProgram, depth: int) -> None:
        self.program, self.depth = program, depth
        self.source = Source(f"Message of {program}, {depth} numbers on a knot.")
        self.of_path: list[list[FoldedCoupling]] = [[] for _ in program.paths]
        for coupling in program.couplings:
            self.of_path[coupling.path].append(coupling)

    # What is read for an edge

    def instance(self, name: str) -> None:
        """What this instance is for, its channels k and where they lie within a knot of the table."""
        inside = f"(k // {CHANNEL_BLOCK}) * {self.on_a_knot * CHANNEL_BLOCK} + k % {CHANNEL_BLOCK}"
        self.source.add(f"{name} = tl.program_id(0).to(tl.int64)", "k = tl.program_id(1) * BK + tl.arange(0, BK)")
        self.source.add(f"inside = {inside}")

    @property
    def on_a_knot(self) -> int:
        return len(self.program.paths) * self.depth

    def interval(self, orders: Sequence[int]) -> None:
        """Interval of edge e, position t in it, Hermite functions and their derivatives by x: 0 from x = 1 on."""
        # A bad x is read inside the table, and the result is NaN.
        self.source.add(
            "x_e = tl.load(x + e)",
            "s = x_e * KN",
            "bounded = tl.where(s < KN, s, KN - 1.0)",
            "knot = tl.where(bounded > 0.0, bounded, 0.0).to(tl.int32)",
            f"at = (tl.load(which + e).to(tl.int64) * (KN + 1) + knot) * (K * {self.on_a_knot}) + inside",
        )
        self.hermite(orders)

    def hermite(self, orders: Sequence[int]) -> None:
        """w{order}_{n}: derivative by x of the n-th function."""
        self.source.add(
            't = tl.where(x_e >= 0.0, x_e * KN - knot, float("nan"))',
            "t = tl.where(x_e >= 1.0, 0.0, t)",
            "within = tl.where(x_e >= 1.0, 0.0, 1.0)",
        )
        for order in orders:
            for n, function in enumerate(hermite(self.depth)):
                coefficients = (function.deriv(order) if order else function).coef.tolist()
                units = _units(order - n % self.depth)
                self.source.add(f"w{order}_{n} = within * {_polynomial(coefficients)}{units}")

    def radial(self, path: int, names: Sequence[tuple[str, int]], table: str = "table") -> None:
        """name = derivative of that order of R[path] for the channels."""
        for n in range(2 * self.depth):
            node, kind = divmod(n, self.depth)
            offset = f"{(path * self.depth + kind) * CHANNEL_BLOCK}" + (f" + K * {self.on_a_knot}" if node else "")
            self.source.add(f"f{n} = tl.load({table} + at + ({offset}))")
        for name, order in names:
            self.source.add(f"{name} = " + products((f"w{order}_{n}", f"f{n}") for n in range(2 * self.depth)))

    def directed_radial(self, path: int, *, curvature: bool) -> None:
        """r, and rd: its change along (vx, vtable); r1 = dR/dx and, where asked, rd1 = ∂rd/∂x."""
        self.radial(path, [("r", 0), ("r1", 1), *([("r2", 2)] if curvature else [])])
        self.source.add("rd = r1 * vx_e", *(["rd1 = r2 * vx_e"] if curvature else []))
        with self.source.block("if VT:"):
            self.radial(path, [("q", 0), *([("q1", 1)] if curvature else [])], "vtable")
            self.source.add("rd += q", *(["rd1 += q1"] if curvature else []))

    def load_harmonics(self, paths: Iterable[int], *, tangent: bool) -> None:
        used = sorted({y for p in paths for coupling in self.of_path[p] for y, _ in coupling.terms})
        self.source.add(*(f"y{n} = tl.load(Y + e * {self.program.harmonics} + {n})" for n in used))
        if tangent:
            self.source.add(*(f"yt{n} = tl.load(vY + e * {self.program.harmonics} + {n})" for n in used))
            self.source.add("vx_e = tl.load(vx + e)")

    def load_features(self, paths: Iterable[int], *, tangent: bool) -> None:
        self.source.add(f"j = tl.load(senders + e) * (K * {self.program.features}) + k")
        for a in sorted({self.feature(coupling) for p in paths for coupling in self.of_path[p]}):
            self.source.add(f"h{a} = tl.load(h + j + K * {a})")
            if tangent:
                self.source.add(f"ht{a} = tl.load(vh + j + K * {a})")

    def load_cotangents(self, paths: Iterable[int], atom: str) -> None:
        for p in paths:
            for m in range(rows_of_path(self.program, p)):
                row = self.program.row(p, m)
                self.source.add(f"g{row} = tl.load(G + {atom} * (K * {self.program.rows}) + K * {row} + k)")

    def feature(self, coupling: FoldedCoupling) -> int:
        return self.program.paths[coupling.path].feature ** 2 + coupling.m_feature

    def row(self, coupling: FoldedCoupling) -> int:
        return self.program.row(coupling.path, coupling.m_out)

    def features_of(self, path: int) -> list[int]:
        return sorted({self.feature(coupling) for coupling in self.of_path[path]})

    def transposed(self, path: int, *, tangent: bool) -> None:
        """u{a} = Σ_m B[m, a] G[m], and ut{a} the same with the B of vY."""
        for a in self.features_of(path):
            here = [coupling for coupling in self.of_path[path] if self.feature(coupling) == a]
            self.source.add(f"u{a} = " + products((_folded(c, "y"), f"g{self.row(c)}") for c in here))
            if tangent:
                self.source.add(f"ut{a} = " + products((_folded(c, "yt"), f"g{self.row(c)}") for c in here))

    # Kernels

    def forward(self, *, tangent: bool) -> None:
        tensors = (*_EDGES, "ptr", "senders", *(_TANGENT if tangent else ()), "out")
        name = "message_tangent" if tangent else "message_forward"
        with self.source.kernel(name, tensors, (*_CONSTANTS, *(("VT",) if tangent else ()))):
            self.instance("i")
            for n, paths in enumerate(path_groups(self.program)):
                with self.source.block(f"if tl.program_id(2) == {n}:"):
                    self._forward_group(paths, tangent=tangent)

    def _forward_group(self, paths: tuple[int, ...], *, tangent: bool) -> None:
        add = self.source.add
        rows = [self.program.row(p, m) for p in paths for m in range(rows_of_path(self.program, p))]
        add(*(f"m{row} = tl.zeros([BK], out.dtype.element_ty)" for row in rows))
        with self.source.block("for e in range(tl.load(ptr + i), tl.load(ptr + i + 1)):"):
            self.interval((0, 1) if tangent else (0,))
            self.load_harmonics(paths, tangent=tangent)
            self.load_features(paths, tangent=tangent)
            for p in paths:
                if tangent:
                    self.directed_radial(p, curvature=False)
                    add(*(f"zt{a} = rd * h{a} + r * ht{a}" for a in self.features_of(p)))
                else:
                    self.radial(p, [("r", 0)])
                add(*(f"z{a} = r * h{a}" for a in self.features_of(p)))
                for coupling in self.of_path[p]:
                    row, a = self.row(coupling), self.feature(coupling)
                    if tangent:
                        add(f"m{row} += {_folded(coupling, 'y')} * zt{a} + {_folded(coupling, 'yt')} * z{a}")
                    else:
                        add(f"m{row} += {_folded(coupling, 'y')} * z{a}")
        add(*(f"tl.store(out + i * (K * {self.program.rows}) + K * {row} + k, m{row})" for row in rows))

    def features(self, second: bool) -> None:
        # Over the edges that leave atom j: with a symmetric list their numbers are `reverse` of the edges of j.
        tensors = (*_EDGES[1:], "ptr", "edges", "receivers", "G", *(_TANGENT[1:] if second else ()), "gh")
        with self.source.kernel(_name("features", second), tensors, (*_CONSTANTS, *(("VT",) if second else ()))):
            self.instance("j")
            for n, paths in enumerate(feature_groups(self.program)):
                with self.source.block(f"if tl.program_id(2) == {n}:"):
                    self._features_group(paths, second, complete=n == 0)

    def _features_group(self, paths: tuple[int, ...], second: bool, *, complete: bool) -> None:
        add = self.source.add
        found = sorted({a for p in paths for a in self.features_of(p)})
        add(*(f"d{a} = tl.zeros([BK], gh.dtype.element_ty)" for a in found))
        with self.source.block("for n in range(tl.load(ptr + j), tl.load(ptr + j + 1)):"):
            add("e = tl.load(edges + n)", "i = tl.load(receivers + n)")
            self.interval((0, 1) if second else (0,))
            self.load_harmonics(paths, tangent=second)
            for p in paths:
                self.load_cotangents([p], "i")
                self.transposed(p, tangent=second)
                if second:
                    self.directed_radial(p, curvature=False)
                else:
                    self.radial(p, [("r", 0)])
                for a in self.features_of(p):
                    add(f"d{a} += " + (f"rd * u{a} + r * ut{a}" if second else f"r * u{a}"))
        place = f"gh + j * (K * {self.program.features})"
        add(*(f"tl.store({place} + K * {a} + k, d{a})" for a in found))
        if complete:  # components that no path uses
            used = {a for p in range(len(self.program.paths)) for a in self.features_of(p)}
            idle = sorted(set(range(self.program.features)) - used)
            add(*(f"tl.store({place} + K * {a} + k, tl.zeros([BK], gh.dtype.element_ty))" for a in idle))

    def geometry(self, second: bool) -> None:
        # Sums over a block of channels: out[group, block, edge, harmonic then x], added by the caller.
        tensors = (*_EDGES, "ptr", "senders", "G", *(_TANGENT if second else ()), "out")
        with self.source.kernel(_name("geometry", second), tensors, (*_CONSTANTS, *(("VT",) if second else ())), "E"):
            self.instance("i")
            block = "(tl.program_id(2) * tl.num_programs(1) + tl.program_id(1)).to(tl.int64)"
            self.source.add(f"to = out + {block} * E * {self.program.harmonics + 1}")
            for n, paths in enumerate(path_groups(self.program)):
                with self.source.block(f"if tl.program_id(2) == {n}:"):
                    self._geometry_group(paths, second)

    def _geometry_group(self, paths: tuple[int, ...], second: bool) -> None:
        add, harmonics = self.source.add, self.program.harmonics
        self.load_cotangents(paths, "i")
        with self.source.block("for e in range(tl.load(ptr + i), tl.load(ptr + i + 1)):"):
            self.interval((0, 1, 2) if second else (0, 1))
            self.load_harmonics(paths, tangent=second)
            self.load_features(paths, tangent=second)
            used = sorted({y for p in paths for coupling in self.of_path[p] for y, _ in coupling.terms})
            add("dx = tl.zeros([BK], out.dtype.element_ty)")
            add(*(f"dy{y} = tl.zeros([BK], out.dtype.element_ty)" for y in used))
            for p in paths:
                components = self.features_of(p)
                self.transposed(p, tangent=second)
                if second:
                    self.directed_radial(p, curvature=True)
                    pairs = [*((f"ht{a}", f"u{a}") for a in components), *((f"h{a}", f"ut{a}") for a in components)]
                    add(f"dx += r1 * ({products(pairs)})")
                    add(f"dx += rd1 * ({products((f'h{a}', f'u{a}') for a in components)})")
                    add(*(f"z{a} = rd * h{a} + r * ht{a}" for a in components))
                else:
                    self.radial(p, [("r", 0), ("r1", 1)])
                    add(f"dx += r1 * ({products((f'h{a}', f'u{a}') for a in components)})")
                    add(*(f"z{a} = r * h{a}" for a in components))
                for coupling in self.of_path[p]:
                    add(f"b = g{self.row(coupling)} * z{self.feature(coupling)}")
                    add(*(f"dy{y} += {value!r} * b" for y, value in coupling.terms))
            add(*(f"tl.store(to + e * {harmonics + 1} + {y}, tl.sum(dy{y}, 0))" for y in used))
            add(f"tl.store(to + e * {harmonics + 1} + {harmonics}, tl.sum(dx, 0))")

    def table(self, second: bool) -> None:
        # Σ over the edges of one piece of an interval: out[piece, path, function, channel]
        tensors = ("h", "x", "Y", "senders", "receivers", "edges", "interval", "begin", "end", "G")
        tensors = (*tensors, *(_TANGENT[:3] if second else ()), "out")
        with self.source.kernel(_name("table", second), tensors, _CONSTANTS):
            self.instance("piece")
            self.source.add("knot = tl.load(interval + piece) % KN")
            for n, paths in enumerate(path_groups(self.program)):
                with self.source.block(f"if tl.program_id(2) == {n}:"):
                    self._table_group(paths, second)

    def _table_group(self, paths: tuple[int, ...], second: bool) -> None:
        add, functions = self.source.add, range(2 * self.depth)
        add(*(f"c{p}_{n} = tl.zeros([BK], out.dtype.element_ty)" for p in paths for n in functions))
        with self.source.block("for n in range(tl.load(begin + piece), tl.load(end + piece)):"):
            add("e = tl.load(edges + n)", "i = tl.load(receivers + e)")
            add("x_e = tl.load(x + e)")
            self.hermite((0, 1) if second else (0,))
            self.load_harmonics(paths, tangent=second)
            self.load_features(paths, tangent=second)
            for p in paths:
                components = self.features_of(p)
                self.load_cotangents([p], "i")
                self.transposed(p, tangent=second)
                add(f"v = {products((f'h{a}', f'u{a}') for a in components)}")
                if second:
                    pairs = [*((f"ht{a}", f"u{a}") for a in components), *((f"h{a}", f"ut{a}") for a in components)]
                    add("v = v * vx_e", f"vt = {products(pairs)}")
                    add(*(f"c{p}_{n} += w0_{n} * vt + w1_{n} * v" for n in functions))
                else:
                    add(*(f"c{p}_{n} += w0_{n} * v" for n in functions))
        place = f"out + piece * (K * {2 * self.on_a_knot}) + k"
        add(*(f"tl.store({place} + K * {2 * self.depth * p + n}, c{p}_{n})" for p in paths for n in functions))

    def table_sum(self) -> None:
        """A knot takes from the pieces of the interval that it begins and from those of the one that it ends."""
        add, depth = self.source.add, self.depth
        with self.source.kernel("table_sum", ("pieces", "first", "out"), _CONSTANTS):
            self.instance("row")
            add("p = tl.program_id(2)", "knot = row % (KN + 1)", "interval = row // (KN + 1) * KN + knot")
            add(*(f"c{n} = tl.zeros([BK], out.dtype.element_ty)" for n in range(depth)))
            place = f"pieces + n * (K * {2 * self.on_a_knot}) + (p * {2 * depth}) * K + k"
            for side, condition, shift in ((0, "knot < KN", ""), (depth, "knot > 0", " - 1")):
                with self.source.block(f"if {condition}:"):
                    bounds = f"tl.load(first + interval{shift}), tl.load(first + interval{shift} + 1)"
                    with self.source.block(f"for n in range({bounds}):"):
                        add(*(f"c{n} += tl.load({place} + K * {side + n})" for n in range(depth)))
            place = f"out + row * (K * {self.on_a_knot}) + p * {depth * CHANNEL_BLOCK} + inside"
            add(*(f"tl.store({place} + {n * CHANNEL_BLOCK}, c{n})" for n in range(depth)))


def _name(what: str, second: bool) -> str:
    return f"message_{what}" + ("_second" if second else "")


def _folded(coupling: FoldedCoupling, harmonics: str) -> str:
    return linear((f"{harmonics}{y}", value) for y, value in coupling.terms)


def _polynomial(coefficients: Sequence[float]) -> str:
    """In t, by Horner's rule."""
    text = repr(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        text = f"({text} * t + {c!r})" if c else f"({text}) * t"
    return text if text.startswith("(") else f"({text})"


def _units(power: int) -> str:
    """Multiplication by KN to that power."""
    return "" if power == 0 else " * KN" * power if power > 0 else f" * (1.0 / KN**{-power})"
