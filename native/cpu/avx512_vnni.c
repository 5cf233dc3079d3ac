/* AVX512-VNNI: a dot product of four unsigned with four signed bytes, accumulated in int32. */
#include "chain.h"
#include "kernel.h"
#include "operands.h"
#include "repeat.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512vnni")))
#define REPEAT AICALIB_REPEAT_16
#define LINK AICALIB_MULTIPLICATIONS
#define LINKS 3
#define CYCLES (2 * LINKS * AICALIB_MULTIPLICATION_CYCLES)

/* m is taken as unsigned, c as signed; _mm512_set1_epi8 needs AVX-512BW in some compilers, so the four are packed here. */
#define NAME int8
#define VECTOR __m512i
#define ACCUMULATOR __m512i
#define OPERAND(x) _mm512_set1_epi32((int32_t)four_bytes(x))
#define START(x) _mm512_set1_epi32(x)
#define STEP(a, m, c) _mm512_dpbusd_epi32(a, m, c)
#define STORE(p, a) _mm512_store_si512(p, a)
#include "body.h"

const aicalib_kernel_entry aicalib_kernels_avx512_vnni[] = {
    {"int8", "int32", "avx512-vnni", AICALIB_CLOCKED(int8), CYCLES, AICALIB_INT32, AICALIB_HAS_AVX512_VNNI, 16, 16, 4, 0},
    {0},
};
#else
const aicalib_kernel_entry aicalib_kernels_avx512_vnni[] = {{0}};
#endif
