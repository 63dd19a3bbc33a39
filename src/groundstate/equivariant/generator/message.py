"""Messages in C++: gather, interpolate the radial functions, couple with harmonics, sum over neighbours — in registers.

    M_i[row(p, m), k] = Σ_e R_e[p, k] Σ_a B_e[p, m, a] h_j[a, k],   e the edges of receiver i, j their senders

No tensor per edge and channel is ever stored: R is interpolated in registers, B (one number per coupling) is made once
per edge, and rows accumulate in registers over all edges of an atom. The map is trilinear in R, B and h; with a
cotangent G of M and tangents marked by a dot, all derivatives are the same loop with other operands:

    forward   M                                    tangent   Ṁ = Ṙ B h + R B ḣ + R Ḃ h
    backward  of ⟨G, M⟩:  h, and x, Y or the table   second    of ⟨G, Ṁ⟩:  h and the table, and x, Y

`GEOMETRY` is the flavour for forces (by x and Y), `TABLE` the one for parameters; without `FEATURE`, nothing goes to h.
"""

from collections.abc import Iterator
from itertools import groupby

from groundstate.equivariant.generator.algebra import FoldedCoupling, MessageProgram
from groundstate.equivariant.generator.code import Code, number, total
from groundstate.equivariant.generator.runtime import lanes
from groundstate.equivariant.native.target import Target

_ATOMS = 16
"""Atoms whose edges are prepared together: their numbers and a channel block of the table stay in the second cache."""


def message_source(
    program: MessageProgram, name: str, channels: int, target: Target, dtype: str, order: int, *, training: bool
) -> str:
    """Functions `name::forward` and `name::backward`, and those of training: `name::tangent`, `name::second`."""
    return str(_Writer(program, name, channels, target, dtype, order).source(training))


class _Writer:
    def __init__(
        self, program: MessageProgram, name: str, channels: int, target: Target, dtype: str, order: int
    ) -> None:
        self.program, self.name, self.channels, self.target, self.order = program, name, channels, target, order
        self.width = lanes(target, dtype)
        self.code = Code()
        self.of_path = [list(group) for _, group in groupby(program.couplings, key=lambda c: c.path)]
        self.index = {(c.path, c.m_out, c.m_feature): q for q, c in enumerate(program.couplings)}

    def source(self, training: bool) -> Code:
        p = self.program
        self.code.add(
            f"// Messages: features of degree ≤ {p.lmax_features}, harmonics ≤ {p.lmax_harmonics}, out ≤ {p.lmax_out};",
            f"// {len(p.paths)} paths, {p.rows} rows, {len(p.couplings)} couplings, {self.channels} channels.",
        )
        with self.code.block(f"namespace {self.name}"):
            self.code.add(
                f"constexpr int64_t CHANNELS = {self.channels}, FEATURES = {p.features}, HARMONICS = {p.harmonics};",
                f"constexpr int64_t PATHS = {len(p.paths)}, ROWS = {p.rows}, COUPLINGS = {len(p.couplings)};",
                "// Paths that end in each degree.",
                f"constexpr int64_t COPIES[] = {{{', '.join(map(str, p.layout.copies))}}};",
                "constexpr int64_t BLOCK = PATHS * ORDER * CHANNEL_BLOCK;       // one channel block of one knot",
                "constexpr int64_t KNOT = CHANNELS / CHANNEL_BLOCK * BLOCK;    // one knot",
                "static inline int64_t in_knot(int64_t k) { return k / CHANNEL_BLOCK * BLOCK + k % CHANNEL_BLOCK; }",
                "",
                "// Edges: receiver i owns ptr[i] … ptr[i+1]; x and which say where each of them is in which table.",
                "struct Edges {",
                "  const int64_t *ptr, *senders;",
                "  const int32_t *which;  // may be null: table 0",
                "  const real *x, *Y;",
                "};",
                "struct Table {",
                "  const real *values;",
                "  int64_t intervals;",
                "  int64_t at(const Edges &edges, int64_t e, int64_t knot) const {",
                "    return ((edges.which ? edges.which[e] : 0) * (intervals + 1) + knot) * KNOT;",
                "  }",
                "};",
                "",
            )
            self._fold()
            self._sums(tangent=False)
            self._per_edge("backward")
            if training:
                self._sums(tangent=True)
                self._per_edge("second")
        return self.code

    def _fold(self) -> None:
        code, couplings = self.code, self.program.couplings
        code.add("// B from the harmonics of an edge, and the transpose of that.")
        with code.block("static inline void fold(const real *y, real *b)"):
            for q, coupling in enumerate(couplings):
                code.add(f"b[{q}] = {total(f'{number(c)} * y[{i}]' for i, c in coupling.terms)};")
        with code.block("static inline void unfold(const real *b, real *y)"):
            for i in range(self.program.harmonics):
                terms = [(q, c) for q, coupling in enumerate(couplings) for j, c in coupling.terms if j == i]
                code.add(f"y[{i}] = {total(f'{number(c)} * b[{q}]' for q, c in terms)};")
        code.add("")

    def _sums(self, *, tangent: bool) -> None:
        """`forward`, or `tangent` along (ḣ, ẋ, Ẏ, and the table's when TABLE)."""
        code, order = self.code, self.order
        if tangent:
            code.add("template <bool TABLE>")
        extra = "const real *dh, const real *dx, const real *dY, const real *dtable, " if tangent else ""
        head = "static void tangent_atoms" if tangent else "static void forward"
        arguments = f"int64_t first, int64_t last, const Edges &edges, Table table, const real *h, {extra}real *out"
        with code.block(f"{head}({arguments})"):
            with code.block("struct Edge", ";"):
                code.add("const real *table, *feature;", f"real value[{2 * order}], b[COUPLINGS];")
                if tangent:
                    code.add(
                        "const real *dtable, *dfeature;", f"real slope[{2 * order}], db[COUPLINGS];  // slope times ẋ"
                    )
            code.add("thread_local std::vector<Edge> prepared;")
            with code.block(f"for (int64_t start = first; start < last; start += {_ATOMS})"):
                code.add(
                    f"const int64_t end = std::min(start + {_ATOMS}, last);",
                    "const int64_t origin = edges.ptr[start], count = edges.ptr[end] - origin;",
                    "if (int64_t(prepared.size()) < count) prepared.resize(count);",
                )
                with code.block("for (int64_t i = 0; i < count; i++)"):
                    code.add(
                        "Edge &edge = prepared[i];",
                        "const int64_t e = origin + i;",
                        "Interpolation at;",
                        "at.set(edges.x[e], table.intervals);",
                        "const int64_t entry = table.at(edges, e, at.knot);",
                        "edge.table = table.values + entry;",
                        "edge.feature = h + edges.senders[e] * FEATURES * CHANNELS;",
                        "std::memcpy(edge.value, at.value, sizeof edge.value);",
                        "fold(edges.Y + e * HARMONICS, edge.b);",
                    )
                    if tangent:
                        code.add(
                            "edge.dtable = TABLE ? dtable + entry : nullptr;",
                            "edge.dfeature = dh + edges.senders[e] * FEATURES * CHANNELS;",
                            f"for (int j = 0; j < {2 * order}; j++) edge.slope[j] = at.slope[j] * dx[e];",
                            "fold(dY + e * HARMONICS, edge.db);",
                        )
                with (
                    code.block("for (int64_t k = 0; k < CHANNELS; k += WIDTH)"),
                    code.block("for (int64_t i = start; i < end; i++)"),
                ):
                    code.add(
                        "const Edge *begin = prepared.data() + edges.ptr[i] - origin;",
                        "const Edge *stop = prepared.data() + edges.ptr[i + 1] - origin;",
                        "real *to = out + i * ROWS * CHANNELS + k;",
                    )
                    for degree in range(self.program.lmax_features + 1):
                        for paths in self._passes(degree):
                            self._pass(degree, paths, tangent)
        code.add("")

    def _passes(self, degree: int) -> Iterator[list[int]]:
        """Paths of one degree of the features, as many at a time as accumulators fit into the registers."""
        room = self.target.registers - 4 - (2 * degree + 1)
        taken: list[int] = []
        used = 0
        for p, path in enumerate(self.program.paths):
            if path.feature == degree:
                rows = 2 * path.out + 1
                if taken and used + rows > room:
                    yield taken
                    taken, used = [], 0
                taken.append(p)
                used += rows
        if taken:
            yield taken

    def _pass(self, degree: int, paths: list[int], tangent: bool) -> None:
        code = self.code
        components = range(2 * degree + 1)
        with code.block():
            for p in paths:
                for m in range(2 * self.program.paths[p].out + 1):
                    code.add(f"vec s{p}_{m} = {{}};")
            with code.block("for (const Edge *edge = begin; edge != stop; edge++)"):
                code.add("const real *t = edge->table + in_knot(k), *b = edge->b, *w = edge->value;")
                for a in components:
                    code.add(f"const vec h{a} = load(edge->feature + {degree * degree + a} * CHANNELS + k);")
                if tangent:
                    code.add("const real *dt = TABLE ? edge->dtable + in_knot(k) : nullptr, *db = edge->db;")
                    for a in components:
                        code.add(f"const vec dh{a} = load(edge->dfeature + {degree * degree + a} * CHANNELS + k);")
                for p in paths:
                    with code.block():
                        code.add(f"const vec r = {self._radial('t', 'w', p)};")
                        if tangent:
                            code.add(f"vec dr = {self._radial('t', 'edge->slope', p)};")
                            code.add(f"if constexpr (TABLE) dr += {self._radial('dt', 'w', p)};")
                        for a in components:
                            code.add(f"const vec x{a} = r * h{a};")
                            if tangent:
                                code.add(f"const vec dx{a} = dr * h{a} + r * dh{a};")
                        for c in self.of_path[p]:
                            q, s = self.index[c.path, c.m_out, c.m_feature], f"s{p}_{c.m_out}"
                            if tangent:
                                code.add(f"{s} += dx{c.m_feature} * b[{q}]; {s} += x{c.m_feature} * db[{q}];")
                            else:
                                code.add(f"{s} += x{c.m_feature} * b[{q}];")
            for p in paths:
                for m in range(2 * self.program.paths[p].out + 1):
                    code.add(f"store(to + {self.program.row(p, m)} * CHANNELS, s{p}_{m});")

    def _radial(self, table: str, weights: str, path: int) -> str:
        """Σ over the numbers kept on both knots."""
        terms = []
        for j in range(2 * self.order):
            knot, kept = divmod(j, self.order)
            place = (path * self.order + kept) * 16
            terms.append(f"load({table} + {'KNOT + ' if knot else ''}{place}) * {weights}[{j}]")
        return total(terms)

    def _per_edge(self, kind: str) -> None:
        """`backward` or `second`: what one edge gives to its sender, to the table, and to its own x and Y."""
        code, second = self.code, kind == "second"
        flags = "bool GEOMETRY, bool TABLE, " + ("bool ALONG_TABLE" if second else "bool FEATURE = true")
        extra = "const real *dh, const real *dx, const real *dY, const real *dtable, " if second else ""
        code.add(f"template <{flags}>")
        with code.block(
            f"static void {kind}_atoms(int64_t first, int64_t last, const Edges &edges, Table table, const real *h, "
            f"const real *g, {extra}real *to_h, real *to_table, real *to_x, real *to_Y)"
        ):
            code.add(
                "constexpr int64_t SUMS = (COUPLINGS + WIDTH) / WIDTH * WIDTH;",
                "vec sums[SUMS] = {};",
                "real b[COUPLINGS], across[SUMS];",
            )
            if second:
                code.add("real db[COUPLINGS];")
            with (
                code.block("for (int64_t i = first; i < last; i++)"),
                code.block("for (int64_t e = edges.ptr[i]; e < edges.ptr[i + 1]; e++)"),
            ):
                code.add(
                    "Interpolation at;",
                    "at.set(edges.x[e], table.intervals);",
                    "const int64_t entry = table.at(edges, e, at.knot);",
                    "const int64_t sender = edges.senders[e] * FEATURES * CHANNELS;",
                    "fold(edges.Y + e * HARMONICS, b);",
                    "const real *gi = g + i * ROWS * CHANNELS;",
                    "vec sum_x = {};",
                )
                if second:
                    code.add(
                        "fold(dY + e * HARMONICS, db);",
                        "const real along_x = dx[e];",
                    )
                for p in range(len(self.program.paths)):
                    self._path(p, second)
                with code.block("if constexpr (GEOMETRY)"):
                    code.add(
                        "sums[COUPLINGS] = sum_x;",
                        "for (int64_t c = 0; c < SUMS; c += WIDTH) store(across + c, add_across(sums + c));",
                        "to_x[e] = across[COUPLINGS];",
                        "unfold(across, to_Y + e * HARMONICS);",
                    )
        code.add("")

    def _path(self, p: int, second: bool) -> None:
        code, path = self.code, self.program.paths[p]
        components = range(2 * path.feature + 1)
        rows: dict[int, list[FoldedCoupling]] = {}
        for c in self.of_path[p]:
            rows.setdefault(c.m_out, []).append(c)
        with code.block():
            for c in self.of_path[p]:
                code.add(f"vec d{c.m_out}_{c.m_feature} = {{}};")
            with code.block("for (int64_t k = 0; k < CHANNELS; k += WIDTH)"):
                code.add(
                    "const real *t = table.values + entry + in_knot(k);",
                    f"const vec r = {self._radial('t', 'at.value', p)};",
                    f"const vec r1 = {self._radial('t', 'at.slope', p)};",
                )
                if second:
                    code.add("vec dr = r1 * along_x;")
                    with code.block("if constexpr (ALONG_TABLE)"):
                        code.add(
                            "const real *dt = dtable + entry + in_knot(k);",
                            f"dr += {self._radial('dt', 'at.value', p)};",
                        )
                for a in components:
                    place = f"sender + {path.feature**2 + a} * CHANNELS + k"
                    code.add(f"const vec h{a} = load(h + {place});", f"vec u{a} = {{}};")
                    if second:
                        code.add(f"const vec dh{a} = load(dh + {place});", f"vec v{a} = {{}};")
                        code.add(f"const vec x{a} = dr * h{a} + r * dh{a};")
                    else:
                        code.add(f"const vec x{a} = r * h{a};")
                for m, couplings in rows.items():
                    with code.block():
                        code.add(f"const vec gm = load(gi + {self.program.row(p, m)} * CHANNELS + k);")
                        for c in couplings:
                            q = self.index[c.path, c.m_out, c.m_feature]
                            code.add(f"u{c.m_feature} += gm * b[{q}];")
                            if second:
                                code.add(f"v{c.m_feature} += gm * db[{q}];")
                            code.add(f"if constexpr (GEOMETRY) d{c.m_out}_{c.m_feature} += gm * x{c.m_feature};")
                code.add(f"const vec hu = {total(f'h{a} * u{a}' for a in components)};")
                if second:
                    mixed = total(f"dh{a} * u{a} + h{a} * v{a}" for a in components)
                    code.add(f"const vec mixed = {mixed};")
                    with code.block("if constexpr (GEOMETRY)"):
                        code.add(f"vec r2 = ({self._radial('t', 'at.curvature', p)}) * along_x;")
                        with code.block("if constexpr (ALONG_TABLE)"):
                            code.add(
                                "const real *dt = dtable + entry + in_knot(k);",
                                f"r2 += {self._radial('dt', 'at.slope', p)};",
                            )
                        code.add("sum_x += r1 * mixed + r2 * hu;")
                else:
                    code.add("if constexpr (GEOMETRY) sum_x += r1 * hu;")
                with code.block("if constexpr (TABLE)"):
                    code.add("real *to = to_table + entry + in_knot(k);")
                    for j in range(2 * self.order):
                        knot, kept = divmod(j, self.order)
                        place = f"to + {'KNOT + ' if knot else ''}{(p * self.order + kept) * 16}"
                        gain = (
                            f"mixed * at.value[{j}] + hu * (along_x * at.slope[{j}])"
                            if second
                            else f"hu * at.value[{j}]"
                        )
                        code.add(f"add_to({place}, {gain});")
                with code.block("" if second else "if constexpr (FEATURE)"):
                    code.add("real *to = to_h + sender + k;")
                    for a in components:
                        gain = f"dr * u{a} + r * v{a}" if second else f"r * u{a}"
                        code.add(f"add_to(to + {path.feature**2 + a} * CHANNELS, {gain});")
            with code.block("if constexpr (GEOMETRY)"):
                for c in self.of_path[p]:
                    code.add(f"sums[{self.index[c.path, c.m_out, c.m_feature]}] = d{c.m_out}_{c.m_feature};")
