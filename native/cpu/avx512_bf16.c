/* AVX512-BF16: a dot product of pairs of bfloat16, accumulated in fp32. */
#include "chain.h"
#include "kernel.h"
#include "operands.h"
#include "repeat.h"

#if defined(__x86_64__) && (defined(__clang__) || __GNUC__ >= 10)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bf16")))
#define REPEAT AICALIB_REPEAT_16
#define LINK AICALIB_MULTIPLICATIONS
#define LINKS 3
#define CYCLES (2 * LINKS * AICALIB_MULTIPLICATION_CYCLES)

#define NAME bf16
#define VECTOR __m512bh
#define ACCUMULATOR __m512
#define OPERAND(x) (__m512bh)_mm512_set1_epi32((int32_t)two_bfloat16(x))
#define START(x) _mm512_set1_ps(x)
#define STEP(a, m, c) _mm512_dpbf16_ps(a, m, c)
#define STORE(p, a) _mm512_store_ps(p, a)
#include "body.h"

const aicalib_kernel_entry aicalib_kernels_avx512_bf16[] = {
    {"bf16", "fp32", "avx512-bf16", AICALIB_CLOCKED(bf16), CYCLES, AICALIB_FP32, AICALIB_HAS_AVX512_BF16, 16, 16, 2, 0},
    {0},
};
#else
const aicalib_kernel_entry aicalib_kernels_avx512_bf16[] = {{0}};
#endif
