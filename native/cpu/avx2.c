/* AVX2 with FMA: fp64 and fp32. Twelve accumulators and four operands fill the sixteen registers. */
#include "chain.h"
#include "kernel.h"
#include "repeat.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,fma")))
#define REPEAT AICALIB_REPEAT_12
#define LINK AICALIB_ADDITIONS
#define LINKS 7
#define CYCLES (2 * LINKS * AICALIB_ADDITION_CYCLES)

#define NAME fp64
#define VECTOR __m256d
#define ACCUMULATOR __m256d
#define OPERAND(x) _mm256_set1_pd(x)
#define START(x) _mm256_set1_pd(x)
#define STEP(a, m, c) _mm256_fmadd_pd(m, c, a)
#define STORE(p, a) _mm256_store_pd((double *)(p), a)
#include "body.h"

#define NAME fp32
#define VECTOR __m256
#define ACCUMULATOR __m256
#define OPERAND(x) _mm256_set1_ps((float)(x))
#define START(x) _mm256_set1_ps(x)
#define STEP(a, m, c) _mm256_fmadd_ps(m, c, a)
#define STORE(p, a) _mm256_store_ps((float *)(p), a)
#include "body.h"

const aicalib_kernel_entry aicalib_kernels_avx2[] = {
    {"fp64", "fp64", "avx2", AICALIB_CLOCKED(fp64), CYCLES, AICALIB_FP64, AICALIB_HAS_AVX2, 12, 4, 1, 0},
    {"fp32", "fp32", "avx2", AICALIB_CLOCKED(fp32), CYCLES, AICALIB_FP32, AICALIB_HAS_AVX2, 12, 8, 1, 0},
    {0},
};
#else
const aicalib_kernel_entry aicalib_kernels_avx2[] = {{0}};
#endif
