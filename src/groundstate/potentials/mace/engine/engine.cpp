// Inference of a MACE: two calls over one tape. `forward` takes positions to the invariant features of every layer and
// leaves on the tape what `backward` needs to take gradients of those features to gradients of positions and cell.
//
// Atoms are processed sorted by class, a chunk at a time, in the cache: a chunk's edges are measured in float64, its
// messages, linear maps and product follow one upon the other, and only A and the features that neighbours will read
// are kept. Everything but `positions`, `senders` and `shifts` is in sorted order; `order` and `rank` lead there and back.
// Threads own contiguous ranges of atoms; what several write to, they write to copies that are added up in fixed order.

#include <algorithm>

#include "inference.hpp"
#include "shape.hpp"  // HIDDEN, LMAX, MESSAGE_FIRST, MESSAGE_NEXT, PRODUCT_HIDDEN, PRODUCT_LAST

namespace {

constexpr int64_t K = linear::CHANNELS, A_ROWS = (LMAX + 1) * (LMAX + 1), HIDDEN_ROWS = (HIDDEN + 1) * (HIDDEN + 1);
constexpr int64_t CHUNK = 16, MOST_LAYERS = 8;
constexpr int64_t MOST_ROWS = std::max(MESSAGE_FIRST::ROWS, MESSAGE_NEXT::ROWS);

}  // namespace

// Weights as kernels read them, matrices packed by `linear::pack`; `_back` are the transposes. By degree: `up` to
// HIDDEN, `down` (all copies below each other; transposed: copy after copy) to LMAX, `mix` and `skip` to HIDDEN.
struct Layer {
  const real *table, *coefficients;
  const real *up[HIDDEN + 1], *up_back[HIDDEN + 1];
  const real *down[LMAX + 1], *down_back[LMAX + 1];
  const real *mix[HIDDEN + 1], *mix_back[HIDDEN + 1];
  const real *skip, *skip_back;  // [class][degree][packed], null without skip
  int64_t skip_degrees;
};

struct Model {
  int64_t layers, classes, intervals, covalent, fades, holds;
  double cutoff, fade_from, fade_to, bend, closing;
  const double *pair_lengths;     // [class, class] sums of covalent radii
  const double *hold_begins;      // [class, class] distance below which a neighbour is felt as if farther, null without
  const int32_t *table_of_pair;   // [class, class]
  Layer layer[MOST_LAYERS];
};

struct Batch {
  int64_t atoms, systems, threads;
  const int64_t *order, *rank, *classes;   // classes in sorted order
  const int64_t *ptr, *senders, *shifts, *system_of;
  const double *positions, *cell;
  const real *initial, *initial_sent;      // features before the first layer, and what is sent of them, one row each:
  const int64_t *initial_row;              // row of each atom, in sorted order
};

// A [atom, A_ROWS, K]; sent [atom, HIDDEN_ROWS, K] (not in the first layer); hidden [atom, HIDDEN_ROWS, K] (not in the
// last); features [atom, K] in the order of the caller.
struct Tape {
  real *A[MOST_LAYERS], *sent[MOST_LAYERS], *hidden[MOST_LAYERS], *features[MOST_LAYERS];
};

namespace {

struct Vector {
  double x, y, z;
};

// The edges of a chunk that lie within the cutoff, measured; as kernels read them.
struct Chunk {
  int64_t first = 0, last = 0;
  std::vector<int64_t> ptr, senders, edge;
  std::vector<int32_t> which;
  std::vector<real> x, Y, unit, to_x, to_Y;
  std::vector<double> inverse, slope, strength, strength_slope;

  void measure(const Model &model, const Batch &batch, int64_t from, int64_t to, bool first_layer, bool slopes);
  void push_back(const Batch &batch, double *to_positions, double *to_cell, double *to_vectors);
  template <class Edges> Edges edges() const { return {ptr.data(), senders.data(), which.data(), x.data(), Y.data()}; }
};

void Chunk::measure(const Model &model, const Batch &batch, int64_t from, int64_t to, bool first_layer, bool slopes) {
  first = from, last = to;
  int64_t most = 0;
  for (int64_t i = from; i < to; i++) most += batch.ptr[batch.order[i] + 1] - batch.ptr[batch.order[i]];
  if (int64_t(senders.size()) < most) {
    const int64_t room = most + most / 4;
    senders.resize(room), edge.resize(room), which.resize(room), x.resize(room), to_x.resize(room);
    unit.resize(3 * room), Y.resize(harmonics::ROWS * room), to_Y.resize(harmonics::ROWS * room);
    for (auto *numbers : {&inverse, &slope, &strength, &strength_slope}) numbers->resize(room);
  }
  ptr.assign(to - from + 1, 0);
  int64_t n = 0;
  const double cutoff = model.cutoff;
  for (int64_t i = from; i < to; i++) {
    const int64_t atom = batch.order[i], own = batch.classes[i] * model.classes;
    const double *here = batch.positions + 3 * atom, *cell = batch.cell + 9 * batch.system_of[atom];
    for (int64_t e = batch.ptr[atom]; e < batch.ptr[atom + 1]; e++) {
      const int64_t sender = batch.senders[e];
      const double *there = batch.positions + 3 * sender;
      const int64_t *shift = batch.shifts + 3 * e;
      double v[3];
      for (int d = 0; d < 3; d++)
        v[d] = there[d] - here[d] + (shift[0] * cell[d] + shift[1] * cell[3 + d] + shift[2] * cell[6 + d]);
      const double squared = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
      if (squared >= cutoff * cutoff) continue;  // of the skin
      const int64_t row = batch.rank[sender], pair = own + batch.classes[row];
      const double r = std::sqrt(squared), q = 1.0 / r, length = model.pair_lengths[pair];
      senders[n] = first_layer ? batch.initial_row[row] : row;
      edge[n] = e;
      which[n] = model.table_of_pair[pair];
      inverse[n] = q;
      for (int d = 0; d < 3; d++) unit[3 * n + d] = real(v[d] * q);
      const double scale = model.covalent ? (model.bend * length + cutoff) / cutoff : 1.0 / cutoff;
      double felt = r, yields = 1.0;
      if (model.holds && r < model.hold_begins[pair]) {
        const double h = model.hold_begins[pair], w = model.closing, u = std::max(0.0, (r / h - 1.0 + w) / w);
        felt = h * (1.0 - 0.5 * w + w * u * u * u * (1.0 - 0.5 * u));
        yields = u * u * (3.0 - 2.0 * u);
      }
      const double bent = model.covalent ? 1.0 / (model.bend * length + felt) : 1.0;
      x[n] = real(felt * bent * scale);
      if (slopes) slope[n] = (model.covalent ? model.bend * length * bent * bent : 1.0) * scale * yields;
      double f = 1.0, df = 0.0;
      if (model.fades) {
        const double width = model.fade_from - model.fade_to, t = (r / length - model.fade_to) / width;
        f = t <= 0 ? 0.0 : t >= 1 ? 1.0 : t * t * t * (10.0 + t * (6.0 * t - 15.0));
        df = t <= 0 || t >= 1 ? 0.0 : 30.0 * t * t * (t - 1.0) * (t - 1.0) / (width * length);
      }
      strength[n] = f, strength_slope[n] = df;
      real *y = Y.data() + harmonics::ROWS * n;
      harmonics::value(unit.data() + 3 * n, y);
      if (f != 1.0)
        for (int64_t m = 0; m < harmonics::ROWS; m++) y[m] *= real(f);
      n++;
    }
    ptr[i - from + 1] = n;
  }
}

// Gradients by x and by Y to those by positions and cells.
void Chunk::push_back(const Batch &batch, double *to_positions, double *to_cell, double *to_vectors) {
  for (int64_t i = first; i < last; i++) {
    const int64_t atom = batch.order[i];
    double *own = to_positions + 3 * atom, *cell = to_cell + 9 * batch.system_of[atom];
    for (int64_t n = ptr[i - first]; n < ptr[i - first + 1]; n++) {
      const real *u = unit.data() + 3 * n;
      real g[harmonics::ROWS], to_u[3];
      double by_strength = 0;
      const real f = real(strength[n]);
      for (int64_t m = 0; m < harmonics::ROWS; m++) g[m] = f * to_Y[harmonics::ROWS * n + m];
      if (strength_slope[n] != 0) {
        real y[harmonics::ROWS];
        harmonics::value(u, y);
        for (int64_t m = 0; m < harmonics::ROWS; m++) by_strength += double(y[m]) * to_Y[harmonics::ROWS * n + m];
      }
      harmonics::backward(u, g, to_u);
      const double along = double(to_u[0]) * u[0] + double(to_u[1]) * u[1] + double(to_u[2]) * u[2];
      const double radial = to_x[n] * slope[n] + by_strength * strength_slope[n] - along * inverse[n];
      const int64_t e = edge[n];
      double *other = to_positions + 3 * batch.senders[e];
      const int64_t *shift = batch.shifts + 3 * e;
      for (int d = 0; d < 3; d++) {
        const double by_vector = radial * u[d] + to_u[d] * inverse[n];
        own[d] -= by_vector;
        other[d] += by_vector;
        for (int k = 0; k < 3; k++) cell[3 * k + d] += shift[k] * by_vector;
        if (to_vectors) to_vectors[3 * e + d] += by_vector;
      }
    }
  }
}

// Rows of [atom][rows][K] arrays, by address; a chunk's worth at a time.
struct Rows {
  const real *from[CHUNK * A_ROWS];
  real *to[CHUNK * A_ROWS];
  int64_t n = 0;
  void add(const real *a, real *c) { from[n] = a, to[n] = c, n++; }
  void multiply(int64_t inner, const real *matrix, bool add_up) {
    linear::multiply(n, from, inner, matrix, to, add_up);
    n = 0;
  }
};

struct Scratch {
  Chunk chunk;
  std::vector<real> phi, B, g;
  Scratch() : phi(CHUNK * MOST_ROWS * K), B(CHUNK * HIDDEN_ROWS * K), g(CHUNK * A_ROWS * K) {}
  static Scratch &own() {
    thread_local Scratch scratch;
    return scratch;
  }
};

// Where the rows of degree l of a message begin, and how many paths end in it.
template <class Shape> struct Place {
  static int64_t copies(int64_t l) { return Shape::COPIES[l]; }
  static int64_t start(int64_t l) {
    int64_t row = 0;
    for (int64_t k = 0; k < l; k++) row += (2 * k + 1) * Shape::COPIES[k];
    return row;
  }
};

// phi → A for every degree, or back.
template <class Shape> void down(const Layer &layer, Rows &rows, int64_t atoms, const real *phi, real *A) {
  for (int64_t l = 0; l <= LMAX; l++) {
    const int64_t copies = Place<Shape>::copies(l), start = Place<Shape>::start(l);
    for (int64_t i = 0; i < atoms; i++)
      for (int64_t m = 0; m <= 2 * l; m++)
        rows.add(phi + (i * Shape::ROWS + start + m * copies) * K, A + (i * A_ROWS + l * l + m) * K);
    rows.multiply(copies * K, layer.down[l], false);
  }
}

template <class Shape> void down_back(const Layer &layer, Rows &rows, int64_t atoms, const real *gA, real *gphi) {
  for (int64_t l = 0; l <= LMAX; l++) {
    const int64_t copies = Place<Shape>::copies(l), start = Place<Shape>::start(l);
    for (int64_t copy = 0; copy < copies; copy++) {
      for (int64_t i = 0; i < atoms; i++)
        for (int64_t m = 0; m <= 2 * l; m++)
          rows.add(gA + (i * A_ROWS + l * l + m) * K, gphi + (i * Shape::ROWS + start + m * copies + copy) * K);
      rows.multiply(K, layer.down_back[l] + copy * K * K, false);
    }
  }
}

// Features of a layer before it, [row of the atom][component][K].
struct Previous {
  const real *values;
  const int64_t *row;  // null: the sorted position itself
  int64_t components;
  const real *at(int64_t i, int64_t component) const { return values + ((row ? row[i] : i) * components + component) * K; }
};

template <class Message, class Shape, class Product>
void forward_chunk(const Model &model, const Batch &batch, const Tape &tape, int64_t t, int64_t first, int64_t last) {
  const Layer &layer = model.layer[t];
  Scratch &scratch = Scratch::own();
  Rows rows;
  const bool begins = t == 0, ends = t == model.layers - 1;
  const int64_t atoms = last - first, degrees = ends ? 0 : HIDDEN;
  scratch.chunk.measure(model, batch, first, last, begins, false);
  const auto edges = scratch.chunk.edges<typename Shape::Edges>();
  Message::forward(0, atoms, edges, {layer.table, model.intervals}, begins ? batch.initial_sent : tape.sent[t],
                   scratch.phi.data());
  real *A = tape.A[t] + first * A_ROWS * K;
  down<Shape>(layer, rows, atoms, scratch.phi.data(), A);
  Product::forward(0, atoms, nullptr, batch.classes + first, A, layer.coefficients, scratch.B.data());

  auto result = [&](int64_t i, int64_t component) {
    return ends ? tape.features[t] + batch.order[i] * K : tape.hidden[t] + (i * HIDDEN_ROWS + component) * K;
  };
  for (int64_t l = 0; l <= degrees; l++) {
    for (int64_t i = 0; i < atoms; i++)
      for (int64_t c = l * l; c < (l + 1) * (l + 1); c++)
        rows.add(scratch.B.data() + (i * (degrees + 1) * (degrees + 1) + c) * K, result(first + i, c));
    rows.multiply(K, layer.mix[l], false);
  }
  if (layer.skip) {
    const Previous previous = begins ? Previous{batch.initial, batch.initial_row, 1}
                                     : Previous{tape.hidden[t - 1], nullptr, HIDDEN_ROWS};
    for (int64_t start = first, end; start < last; start = end) {
      for (end = start + 1; end < last && batch.classes[end] == batch.classes[start];) end++;
      for (int64_t l = 0; l < layer.skip_degrees; l++) {
        for (int64_t i = start; i < end; i++)
          for (int64_t c = l * l; c < (l + 1) * (l + 1); c++) rows.add(previous.at(i, c), result(i, c));
        rows.multiply(K, layer.skip + (batch.classes[start] * layer.skip_degrees + l) * K * K, true);
      }
    }
  }
  if (ends) return;
  for (int64_t i = first; i < last; i++)
    std::memcpy(tape.features[t] + batch.order[i] * K, tape.hidden[t] + i * HIDDEN_ROWS * K, K * sizeof(real));
  const Layer &next = model.layer[t + 1];
  for (int64_t l = 0; l <= HIDDEN; l++) {
    for (int64_t i = first; i < last; i++)
      for (int64_t c = l * l; c < (l + 1) * (l + 1); c++)
        rows.add(tape.hidden[t] + (i * HIDDEN_ROWS + c) * K, tape.sent[t + 1] + (i * HIDDEN_ROWS + c) * K);
    rows.multiply(K, next.up[l], false);
  }
}

// Gradients on their way back: by the features of each layer [atom, HIDDEN_ROWS, K] and by what was sent.
struct Gradients {
  real *by_hidden[MOST_LAYERS];
  const real *by_sent;  // of the layer after
};

template <class Message, class Shape, class Product>
void backward_chunk(const Model &model, const Batch &batch, const Tape &tape, const Gradients &gradients, int64_t t,
                    int64_t first, int64_t last, real *to_sent, double *to_positions, double *to_cell, double *to_vectors) {
  const Layer &layer = model.layer[t];
  Scratch &scratch = Scratch::own();
  Rows rows;
  const bool begins = t == 0, ends = t == model.layers - 1;
  const int64_t atoms = last - first, degrees = ends ? 0 : HIDDEN, components = (degrees + 1) * (degrees + 1);
  real *own = gradients.by_hidden[t];
  auto at = [&](int64_t i, int64_t c) { return own + (i * HIDDEN_ROWS + c) * K; };
  if (!ends)
    for (int64_t l = 0; l <= HIDDEN; l++) {
      for (int64_t i = first; i < last; i++)
        for (int64_t c = l * l; c < (l + 1) * (l + 1); c++)
          rows.add(gradients.by_sent + (i * HIDDEN_ROWS + c) * K, at(i, c));
      rows.multiply(K, model.layer[t + 1].up_back[l], true);
    }
  if (layer.skip && !begins)
    for (int64_t start = first, end; start < last; start = end) {
      for (end = start + 1; end < last && batch.classes[end] == batch.classes[start];) end++;
      for (int64_t l = 0; l < layer.skip_degrees; l++) {
        for (int64_t i = start; i < end; i++)
          for (int64_t c = l * l; c < (l + 1) * (l + 1); c++)
            rows.add(at(i, c), gradients.by_hidden[t - 1] + (i * HIDDEN_ROWS + c) * K);
        rows.multiply(K, layer.skip_back + (batch.classes[start] * layer.skip_degrees + l) * K * K, true);
      }
    }
  for (int64_t l = 0; l <= degrees; l++) {
    for (int64_t i = 0; i < atoms; i++)
      for (int64_t c = l * l; c < (l + 1) * (l + 1); c++)
        rows.add(at(first + i, c), scratch.B.data() + (i * components + c) * K);
    rows.multiply(K, layer.mix_back[l], false);
  }
  Product::template backward<true, false>(0, atoms, nullptr, batch.classes + first, tape.A[t] + first * A_ROWS * K,
                                          layer.coefficients, scratch.B.data(), scratch.g.data(), nullptr);
  down_back<Shape>(layer, rows, atoms, scratch.g.data(), scratch.phi.data());
  Chunk &chunk = scratch.chunk;
  chunk.measure(model, batch, first, last, begins, true);
  const auto edges = chunk.edges<typename Shape::Edges>();
  Message::backward(begins, atoms, edges, {layer.table, model.intervals}, begins ? batch.initial_sent : tape.sent[t],
                    scratch.phi.data(), to_sent, chunk.to_x.data(), chunk.to_Y.data());
  chunk.push_back(batch, to_positions, to_cell, to_vectors);
}

template <class Work> void by_chunk(int64_t first, int64_t last, const Work &work) {
  for (int64_t start = first; start < last; start += CHUNK) work(start, std::min(start + CHUNK, last));
}

// Namespaces of kernels as types, for the templates above.
#define MESSAGE_TYPES(NAME, SPACE)                                                                                     \
  struct NAME##Shape {                                                                                                 \
    using Edges = SPACE::Edges;                                                                                        \
    static constexpr int64_t ROWS = SPACE::ROWS;                                                                       \
    static constexpr const int64_t *COPIES = SPACE::COPIES;                                                            \
  };                                                                                                                   \
  struct NAME {                                                                                                        \
    static void forward(int64_t first, int64_t last, const SPACE::Edges &edges, SPACE::Table table, const real *h,     \
                        real *out) {                                                                                   \
      SPACE::forward(first, last, edges, table, h, out);                                                               \
    }                                                                                                                  \
    static void backward(bool begins, int64_t atoms, const SPACE::Edges &edges, SPACE::Table table, const real *h,     \
                         const real *g, real *to_h, real *to_x, real *to_Y) {                                          \
      if (begins)                                                                                                      \
        SPACE::backward_atoms<true, false, false>(0, atoms, edges, table, h, g, nullptr, nullptr, to_x, to_Y);         \
      else                                                                                                             \
        SPACE::backward_atoms<true, false, true>(0, atoms, edges, table, h, g, to_h, nullptr, to_x, to_Y);             \
    }                                                                                                                  \
  };
#define PRODUCT_TYPE(NAME, SPACE)                                                                                      \
  struct NAME {                                                                                                        \
    template <class... Arguments> static void forward(Arguments... arguments) { SPACE::forward(arguments...); }        \
    template <bool F, bool C, class... Arguments> static void backward(Arguments... arguments) {                       \
      SPACE::backward_atoms<F, C>(arguments...);                                                                       \
    }                                                                                                                  \
  };
MESSAGE_TYPES(First, MESSAGE_FIRST)
MESSAGE_TYPES(Next, MESSAGE_NEXT)
PRODUCT_TYPE(Hidden, PRODUCT_HIDDEN)
PRODUCT_TYPE(Last, PRODUCT_LAST)

}  // namespace

extern "C" int64_t engine_pack(const real *matrix, int64_t inner, int64_t transposed, real *packed) {
  linear::pack(matrix, inner, transposed, packed);
  return linear::PANEL;
}

// Sizes of the structures above, for the caller to compare with its own.
extern "C" int64_t engine_size_of(int64_t which) {
  const int64_t sizes[] = {sizeof(Model), sizeof(Batch), sizeof(Tape), MOST_LAYERS};
  return sizes[which];
}

extern "C" void engine_forward(const Model *model, const Batch *batch, const Tape *tape) {
  for (int64_t t = 0; t < model->layers; t++)
    share_out(batch->atoms, batch->threads, [&](int64_t, int64_t first, int64_t last) {
      by_chunk(first, last, [&](int64_t from, int64_t to) {
        const bool begins = t == 0, ends = t == model->layers - 1;
        if (begins && ends) forward_chunk<First, FirstShape, Last>(*model, *batch, *tape, t, from, to);
        else if (begins) forward_chunk<First, FirstShape, Hidden>(*model, *batch, *tape, t, from, to);
        else if (ends) forward_chunk<Next, NextShape, Last>(*model, *batch, *tape, t, from, to);
        else forward_chunk<Next, NextShape, Hidden>(*model, *batch, *tape, t, from, to);
      });
    });
}

// `seeds` [layer] → [atom, K] in the order of the caller; gradients are added to the arrays given, `to_vectors`
// [edge, 3] may be null.
extern "C" void engine_backward(const Model *model, const Batch *batch, const Tape *tape, const real *const *seeds,
                                double *to_positions, double *to_cell, double *to_vectors) {
  const int64_t atoms = batch->atoms, threads = std::max<int64_t>(1, std::min(batch->threads, atoms));
  const int64_t room = atoms * HIDDEN_ROWS * K;
  std::vector<std::vector<real>> by_hidden(model->layers);
  std::vector<real> sent(model->layers > 1 ? room : 0), sent_after(model->layers > 2 ? room : 0);
  Gradients gradients{};
  for (int64_t t = 0; t < model->layers; t++) {
    by_hidden[t].assign(room, real(0));
    gradients.by_hidden[t] = by_hidden[t].data();
    for (int64_t i = 0; i < atoms; i++)
      std::memcpy(by_hidden[t].data() + i * HIDDEN_ROWS * K, seeds[t] + batch->order[i] * K, K * sizeof(real));
  }
  std::vector<std::vector<double>> positions(threads - 1), cells(threads - 1);
  for (auto &copy : positions) copy.assign(3 * atoms, 0.0);
  for (auto &copy : cells) copy.assign(9 * batch->systems, 0.0);
  for (int64_t t = model->layers - 1; t >= 0; t--) {
    if (t > 0) std::fill(sent.begin(), sent.end(), real(0));
    Copies copies(t > 0 ? sent.data() : nullptr, room, threads);
    gradients.by_sent = sent_after.empty() ? sent.data() : sent_after.data();
    share_out(atoms, threads, [&](int64_t part, int64_t first, int64_t last) {
      real *to_sent = copies.of(part);
      double *to = part ? positions[part - 1].data() : to_positions, *cell = part ? cells[part - 1].data() : to_cell;
      by_chunk(first, last, [&](int64_t from, int64_t until) {
        const bool begins = t == 0, ends = t == model->layers - 1;
        auto work = begins && ends ? backward_chunk<First, FirstShape, Last>
                    : begins       ? backward_chunk<First, FirstShape, Hidden>
                    : ends         ? backward_chunk<Next, NextShape, Last>
                                   : backward_chunk<Next, NextShape, Hidden>;
        work(*model, *batch, *tape, gradients, t, from, until, to_sent, to, cell, to_vectors);
      });
    });
    copies.join(threads);
    if (!sent_after.empty()) std::swap(sent, sent_after);
  }
  for (int64_t part = 0; part < threads - 1; part++) {
    for (int64_t i = 0; i < 3 * atoms; i++) to_positions[i] += positions[part][i];
    for (int64_t i = 0; i < 9 * batch->systems; i++) to_cell[i] += cells[part][i];
  }
}
