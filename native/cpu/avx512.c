/* AVX-512F: fp64 and fp32. */
#include "chain.h"
#include "kernel.h"
#include "repeat.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f")))
#define REPEAT AICALIB_REPEAT_16
#define LINK AICALIB_MULTIPLICATIONS
#define LINKS 3
#define CYCLES (2 * LINKS * AICALIB_MULTIPLICATION_CYCLES)

#define NAME fp64
#define VECTOR __m512d
#define ACCUMULATOR __m512d
#define OPERAND(x) _mm512_set1_pd(x)
#define START(x) _mm512_set1_pd(x)
#define STEP(a, m, c) _mm512_fmadd_pd(m, c, a)
#define STORE(p, a) _mm512_store_pd(p, a)
#include "body.h"

#define NAME fp32
#define VECTOR __m512
#define ACCUMULATOR __m512
#define OPERAND(x) _mm512_set1_ps((float)(x))
#define START(x) _mm512_set1_ps(x)
#define STEP(a, m, c) _mm512_fmadd_ps(m, c, a)
#define STORE(p, a) _mm512_store_ps(p, a)
#include "body.h"

const aicalib_kernel_entry aicalib_kernels_avx512[] = {
    {"fp64", "fp64", "avx512", AICALIB_CLOCKED(fp64), CYCLES, AICALIB_FP64, AICALIB_HAS_AVX512, 16, 8, 1, 0},
    {"fp32", "fp32", "avx512", AICALIB_CLOCKED(fp32), CYCLES, AICALIB_FP32, AICALIB_HAS_AVX512, 16, 16, 1, 0},
    {0},
};
#else
const aicalib_kernel_entry aicalib_kernels_avx512[] = {{0}};
#endif
