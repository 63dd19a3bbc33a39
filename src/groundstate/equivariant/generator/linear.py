"""Channel mixing in C++: many short rows times one matrix, the matrix packed into panels that fit the registers."""

from groundstate.equivariant.generator.code import Code
from groundstate.equivariant.generator.runtime import lanes
from groundstate.equivariant.native.target import Target


def panel_vectors(channels: int, target: Target, dtype: str) -> int:
    """Vectors in one row of a panel: as many as leave room for several rows of sums, and divide the channels."""
    vectors = channels // lanes(target, dtype)
    most = 4 if target.registers >= 32 else 2
    return max(n for n in range(1, most + 1) if vectors % n == 0)


def linear_source(channels: int, target: Target, dtype: str) -> str:
    """Functions `linear::pack` and `linear::multiply`."""
    panel = panel_vectors(channels, target, dtype)
    rows = min((target.registers - panel - 1) // panel, 14)
    code = Code()
    code.add(f"// Rows times a matrix, {rows} rows and {panel} vectors of sums at a time.")
    with code.block("namespace linear"):
        code.add(f"constexpr int64_t CHANNELS = {channels}, PANEL = {panel} * WIDTH, AT_ONCE = {rows};", "")
        code.add(_PACK)
        for n in range(1, rows + 1):
            _rows(code, n, panel)
        code.add(_MULTIPLY_HEAD)
        with code.block("switch (last - first)"):
            for n in range(1, rows):
                code.add(f"case {n}: rows{n}(a + first, matrix + start * inner, start, c + first, inner, add); break;")
            code.add(f"default: rows{rows}(a + first, matrix + start * inner, start, c + first, inner, add);")
        code.add("    }", "}")
    return str(code)


_PACK = """\
// [inner, CHANNELS] by rows, or its transpose, to [panel][inner][PANEL].
static void pack(const real *matrix, int64_t inner, bool transposed, real *packed) {
  for (int64_t start = 0; start < CHANNELS; start += PANEL)
    for (int64_t k = 0; k < inner; k++)
      for (int64_t j = 0; j < PANEL; j++)
        *packed++ = transposed ? matrix[(start + j) * inner + k] : matrix[k * CHANNELS + start + j];
}
"""

_MULTIPLY_HEAD = """\
// c[i] (+)= a[i] · matrix for `count` rows given by their addresses, `inner` numbers each; CHANNELS numbers come out.
static void multiply(int64_t count, const real *const *a, int64_t inner, const real *matrix, real *const *c, bool add) {
  for (int64_t start = 0; start < CHANNELS; start += PANEL)
    for (int64_t first = 0; first < count; first += AT_ONCE) {
      const int64_t last = std::min(first + AT_ONCE, count);"""


def _rows(code: Code, n: int, panel: int) -> None:
    arguments = "const real *const *a, const real *b, int64_t start, real *const *c, int64_t inner, bool add"
    with code.block(f"static void rows{n}({arguments})"):
        code.add("const real " + ", ".join(f"*a{i} = a[{i}]" for i in range(n)) + ";")
        for i in range(n):
            code.add("vec " + ", ".join(f"s{i}_{j} = {{}}" for j in range(panel)) + ";")
        with code.block("for (int64_t k = 0; k < inner; k++, b += PANEL)"):
            code.add("const vec " + ", ".join(f"b{j} = load(b + {j} * WIDTH)" for j in range(panel)) + ";")
            for i in range(n):
                code.add(" ".join(f"s{i}_{j} += b{j} * a{i}[k];" for j in range(panel)))
        for i in range(n):
            for j in range(panel):
                to = f"c[{i}] + start + {j} * WIDTH"
                code.add(f"store({to}, add ? load({to}) + s{i}_{j} : s{i}_{j});")
