"""Symmetric contractions in C++: sparse polynomials of A, one coefficient per monomial, class and channel.

    P_M = Σ_a A_a q_a,   q_a = c_a + Σ_b A_b r_ab,   r_ab = c_ab + Σ_d A_d c_abd

Horner's scheme of the tree of monomials; its reverse by A and by the coefficients; its tangent along (Ȧ, ċ), and the
reverse of the tangent. Atoms come sorted by class, so the coefficients of one channel block stay in the first cache
while all atoms of a class pass; what an atom costs does not depend on the number of classes.
"""

from groundstate.equivariant.generator.algebra import Branch, PolynomialProgram
from groundstate.equivariant.generator.code import Code
from groundstate.equivariant.native.target import Target


def polynomial_source(program: PolynomialProgram, name: str, channels: int, target: Target, *, training: bool) -> str:
    """Functions `name::forward` and `name::backward`, and that of training: `name::second`."""
    code = Code()
    code.add(
        f"// Symmetric contraction: degrees ≤ {program.lmax_in} to ≤ {program.lmax_out}, correlation "
        f"{program.correlation}; {program.slots} monomials, {channels} channels.",
    )
    with code.block(f"namespace {name}"):
        code.add(
            f"constexpr int64_t CHANNELS = {channels}, FEATURES = {program.features}, ROWS = {program.rows};",
            f"constexpr int64_t SLOTS = {program.slots};",
            "",
        )
        code.add(_RUNS)
        writer = _Writer(program)
        writer.forward()
        writer.backward()
        if training:
            writer.second()
        code.add(str(writer.code))
    return str(code)


_RUNS = """\
// Atoms order[first] … order[last − 1] (the atoms themselves where order is null), in runs of one class.
template <class Work>
static void by_class(int64_t first, int64_t last, const int64_t *order, const int64_t *classes, const Work &work) {
  auto atom = [&](int64_t i) { return order ? order[i] : i; };
  for (int64_t start = first; start < last;) {
    const int64_t of = classes[atom(start)];
    int64_t end = start + 1;
    while (end < last && classes[atom(end)] == of) end++;
    for (int64_t k = 0; k < CHANNELS; k += WIDTH)
      for (int64_t i = start; i < end; i++) work(of, atom(i), k);
    start = end;
  }
}
"""

_ATOM = """\
const int64_t in = atom * FEATURES * CHANNELS + k, out = atom * ROWS * CHANNELS + k, at = of * SLOTS * CHANNELS + k;
const real *a = A + in, *c = coefficients + at;"""
_EACH = "by_class(first, last, order, classes, [&](int64_t of, int64_t atom, int64_t k)"
_RANGE = (
    "int64_t first, int64_t last, const int64_t *order, const int64_t *classes, const real *A, const real *coefficients"
)
_INITIAL = """\
real *ta = FEATURE ? to_A + in : nullptr, *tc = COEFFICIENT ? to_coefficients + at : nullptr;
if constexpr (FEATURE) for (int64_t f = 0; f < FEATURES; f++) store(ta + f * CHANNELS, vec{});"""


class _Writer:
    def __init__(self, program: PolynomialProgram) -> None:
        self.program, self.code, self._names = program, Code(), 0

    def _let(self, value: str, *, changes: bool = False) -> str:
        """A new variable."""
        self._names += 1
        name = f"v{self._names}"
        self.code.add(f"{'' if changes else 'const '}vec {name} = {value};")
        return name

    def _gain(self, flag: str, array: str, place: int | None, value: str) -> None:
        if place is not None:
            self.code.add(f"if constexpr ({flag}) add_to({array} + {place} * CHANNELS, {value});")

    def forward(self) -> None:
        """P of A and c."""
        code = self.code
        with code.block(f"static void forward({_RANGE}, real *P)"), code.block(_EACH, ");"):
            code.add(_ATOM, "real *p = P + out;")
            for M, tree in enumerate(self.program.trees):
                with code.block():
                    total = self._let("{}", changes=True)
                    for branch in tree:
                        code.add(f"{total} += {_load('a', branch.factor)} * {self._value(branch)};")
                    code.add(f"store(p + {M} * CHANNELS, {total});")
        code.add("")

    def _value(self, branch: Branch) -> str:
        """c + Σ of what is below."""
        if not branch.children:
            return _load("c", branch.slot)
        value = self._let(_load("c", branch.slot), changes=True)
        for child in branch.children:
            self.code.add(f"{value} += {_load('a', child.factor)} * {self._value(child)};")
        return value

    def backward(self) -> None:
        """⟨G, P⟩ by A and by c."""
        code = self.code
        code.add("template <bool FEATURE, bool COEFFICIENT>")
        head = f"static void backward_atoms({_RANGE}, const real *G, real *to_A, real *to_coefficients)"
        with code.block(head), code.block(_EACH, ");"):
            code.add(_ATOM, _INITIAL, "const real *g = G + out;")
            for M, tree in enumerate(self.program.trees):
                with code.block():
                    weight = self._let(_load("g", M))
                    for branch in tree:
                        self._reverse(branch, weight)
        code.add("")

    def _reverse(self, branch: Branch, weight: str) -> tuple[str, str]:
        """Given the cotangent of A_factor · value, that of both and of all below; returns A_factor and the value."""
        x = self._let(_load("a", branch.factor))
        if not branch.children:
            value = self._let(_load("c", branch.slot))
            self._gain("COEFFICIENT", "tc", branch.slot, f"{weight} * {x}")
        else:
            value = self._let(_load("c", branch.slot), changes=True)
            below = self._let(f"{weight} * {x}")
            self._gain("COEFFICIENT", "tc", branch.slot, below)
            for child in branch.children:
                self.code.add("{} += {} * {};".format(value, *self._reverse(child, below)))
        self._gain("FEATURE", "ta", branch.factor, f"{weight} * {value}")
        return x, value

    def second(self) -> None:
        """Along (Ȧ, ċ): Ṗ itself, and ⟨G, Ṗ⟩ by A and by c."""
        code = self.code
        code.add("template <bool ALONG_COEFFICIENT>")
        head = f"static void second_atoms({_RANGE}, const real *G, const real *dA, const real *dc, "
        with code.block(head + "real *to_G, real *to_A, real *to_coefficients)"), code.block(_EACH, ");"):
            code.add("constexpr bool FEATURE = true, COEFFICIENT = true;", _ATOM, _INITIAL)
            code.add("const real *g = G + out, *da = dA + in, *dco = ALONG_COEFFICIENT ? dc + at : nullptr;")
            for M, tree in enumerate(self.program.trees):
                with code.block():
                    weight, total = self._let(_load("g", M)), self._let("{}", changes=True)
                    for branch in tree:
                        x, dx, value, dvalue = self._second(branch, weight, None)
                        code.add(f"{total} += {dx} * {value} + {x} * {dvalue};")
                    code.add(f"store(to_G + out + {M} * CHANNELS, {total});")
        code.add("")

    def _second(self, branch: Branch, dweight: str, weight: str | None) -> tuple[str, str, str, str]:
        """Given the cotangents of the change of A_factor · value and of that product (None: 0), those of all parts.

        Returns A_factor and the value, each with its change."""
        x, dx = self._let(_load("a", branch.factor)), self._let(_load("da", branch.factor))
        value, dvalue = self._let(_load("c", branch.slot), changes=True), self._let("{}", changes=True)
        if branch.slot is not None:
            self.code.add(f"if constexpr (ALONG_COEFFICIENT) {dvalue} = {_load('dco', branch.slot)};")
        below = self._let(f"{dweight} * {dx}" + (f" + {weight} * {x}" if weight else ""))
        self._gain("COEFFICIENT", "tc", branch.slot, below)
        if branch.children:
            dbelow = self._let(f"{dweight} * {x}")
            for child in branch.children:
                y, dy, inner, dinner = self._second(child, dbelow, below)
                self.code.add(f"{value} += {y} * {inner};", f"{dvalue} += {dy} * {inner} + {y} * {dinner};")
        gain = f"{dweight} * {dvalue}" + (f" + {weight} * {value}" if weight else "")
        self._gain("FEATURE", "ta", branch.factor, gain)
        return x, dx, value, dvalue


def _load(array: str, component: int | None) -> str:
    return "vec{}" if component is None else f"load({array} + {component} * CHANNELS)"
