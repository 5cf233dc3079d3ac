/* AVX-VNNI: the byte dot product for processors without AVX-512. */
#include "chain.h"
#include "kernel.h"
#include "operands.h"
#include "repeat.h"

#if defined(__x86_64__) && (defined(__clang__) || __GNUC__ >= 11)
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,avxvnni")))
#define REPEAT AICALIB_REPEAT_12
#define LINK AICALIB_ADDITIONS
#define LINKS 7
#define CYCLES (2 * LINKS * AICALIB_ADDITION_CYCLES)

#define NAME int8
#define VECTOR __m256i
#define ACCUMULATOR __m256i
#define OPERAND(x) _mm256_set1_epi32((int32_t)four_bytes(x))
#define START(x) _mm256_set1_epi32(x)
#define STEP(a, m, c) _mm256_dpbusd_avx_epi32(a, m, c)
#define STORE(p, a) _mm256_store_si256((__m256i *)(p), a)
#include "body.h"

const aicalib_kernel_entry aicalib_kernels_avx_vnni[] = {
    {"int8", "int32", "avx-vnni", AICALIB_CLOCKED(int8), CYCLES, AICALIB_INT32, AICALIB_HAS_AVX_VNNI, 12, 8, 4, 0},
    {0},
};
#else
const aicalib_kernel_entry aicalib_kernels_avx_vnni[] = {{0}};
#endif
