/* The dot-product extension of arm64 (ARMv8.2): four signed by four signed bytes, accumulated in int32. */
#include "chain.h"
#include "kernel.h"
#include "repeat.h"

#if defined(__aarch64__) && (defined(__clang__) || __GNUC__ >= 9)
#if defined(__clang__)
#define TARGET __attribute__((target("dotprod")))
#else
#define TARGET __attribute__((target("arch=armv8.2-a+dotprod")))
#endif
#include <arm_neon.h>

#define REPEAT AICALIB_REPEAT_24
#define LINK AICALIB_ADDITIONS
#define LINKS 7
#define CYCLES (2 * LINKS * AICALIB_ADDITION_CYCLES)

#define NAME int8
#define VECTOR int8x16_t
#define ACCUMULATOR int32x4_t
#define OPERAND(x) vdupq_n_s8((int8_t)(x))
#define START(x) vdupq_n_s32(x)
#define STEP(a, m, c) vdotq_s32(a, m, c)
#define STORE(p, a) vst1q_s32((int32_t *)(p), a)
#include "body.h"

const aicalib_kernel_entry aicalib_kernels_neon_dotprod[] = {
    {"int8", "int32", "neon-dotprod", AICALIB_CLOCKED(int8), CYCLES, AICALIB_INT32, AICALIB_HAS_NEON_DOTPROD, 24, 4, 4, 0},
    {0},
};
#else
const aicalib_kernel_entry aicalib_kernels_neon_dotprod[] = {{0}};
#endif
