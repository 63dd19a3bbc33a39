// What one core can do at most: fused multiply-adds in registers, and reads from buffers of given sizes.
//
//     peak BYTES…      one line of JSON: GFLOP/s by number type, GB/s by bytes of the buffer
//
// Vectors are as wide as the target the compiler was given; processor time, best of several tries.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
#elif defined(__AVX2__)
constexpr int VECTOR_BYTES = 32;
#else
constexpr int VECTOR_BYTES = 16;
#endif
constexpr int CHAINS = 16;  // independent sums: more than latency times units of any core we know

static double seconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

// Told to the optimiser as used and changed, so that no loop is left out.
template <class Value> static inline void keep(Value &value) { asm volatile("" : "+m"(value) : : "memory"); }

template <class Real> static double multiply_adds() {
  typedef Real Vector __attribute__((vector_size(VECTOR_BYTES)));
  constexpr int64_t ROUNDS = 1 << 20;
  double best = 0;
  Real x = Real(1.0001), y = Real(1e-9);
  keep(x), keep(y);
  for (int repeat = 0; repeat < 20; repeat++) {
    Vector sums[CHAINS];
    for (int i = 0; i < CHAINS; i++) sums[i] = Vector{} + Real(i);
    const Vector factor = Vector{} + x, summand = Vector{} + y;
    const double start = seconds();
    for (int64_t n = 0; n < ROUNDS; n++) {
#pragma GCC unroll 16
      for (int i = 0; i < CHAINS; i++) sums[i] = sums[i] * factor + summand;
    }
    const double rate = double(ROUNDS) * CHAINS * 2 * (VECTOR_BYTES / sizeof(Real)) / (seconds() - start) / 1e9;
    Vector total = {};  // only this has an address, so the sums stay in registers
    for (int i = 0; i < CHAINS; i++) total += sums[i];
    keep(total);
    if (rate > best) best = rate;
  }
  return best;
}

static double reads(int64_t bytes) {
  typedef float Vector __attribute__((vector_size(VECTOR_BYTES)));
  constexpr int64_t TOGETHER = 8;
  const int64_t count = bytes / VECTOR_BYTES / TOGETHER * TOGETHER;
  Vector *data = static_cast<Vector *>(aligned_alloc(4096, (size_t(count) * VECTOR_BYTES + 4095) / 4096 * 4096));
  for (int64_t i = 0; i < count; i++) data[i] = Vector{} + float(i);
  const int64_t rounds = (int64_t(1) << 29) / bytes + 1;
  double best = 0;
  for (int repeat = 0; repeat < 5; repeat++) {
    Vector sums[TOGETHER] = {};
    const double start = seconds();
    for (int64_t n = 0; n < rounds; n++) {
      for (int64_t i = 0; i < count; i += TOGETHER) {
#pragma GCC unroll 8
        for (int j = 0; j < TOGETHER; j++) sums[j] += data[i + j];
      }
      asm volatile("" : "+r"(data));  // for all the compiler knows, other data: it reads again
    }
    const double rate = double(rounds) * double(count) * VECTOR_BYTES / (seconds() - start) / 1e9;
    Vector total = {};  // only this has an address, so the sums stay in registers
    for (int j = 0; j < TOGETHER; j++) total += sums[j];
    keep(total);
    if (rate > best) best = rate;
  }
  free(data);
  return best;
}

int main(int argc, char **argv) {
  std::printf("{\"vector_bytes\": %d, \"float32\": %.4g, \"float64\": %.4g, \"reads\": {", VECTOR_BYTES,
              multiply_adds<float>(), multiply_adds<double>());
  for (int i = 1; i < argc; i++)
    std::printf("%s\"%s\": %.4g", i > 1 ? ", " : "", argv[i], reads(std::atoll(argv[i])));
  std::printf("}}\n");
}
