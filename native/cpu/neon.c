/* NEON of arm64, which every such processor has: fp64 and fp32. 24 accumulators cover latency 4 on 4 pipes and more. */
#include "chain.h"
#include "kernel.h"
#include "repeat.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#define TARGET
#define REPEAT AICALIB_REPEAT_24
#define LINK AICALIB_ADDITIONS
#define LINKS 7
#define CYCLES (2 * LINKS * AICALIB_ADDITION_CYCLES)

#define NAME fp64
#define VECTOR float64x2_t
#define ACCUMULATOR float64x2_t
#define OPERAND(x) vdupq_n_f64(x)
#define START(x) vdupq_n_f64(x)
#define STEP(a, m, c) vfmaq_f64(a, m, c)
#define STORE(p, a) vst1q_f64((double *)(p), a)
#include "body.h"

#define NAME fp32
#define VECTOR float32x4_t
#define ACCUMULATOR float32x4_t
#define OPERAND(x) vdupq_n_f32((float)(x))
#define START(x) vdupq_n_f32(x)
#define STEP(a, m, c) vfmaq_f32(a, m, c)
#define STORE(p, a) vst1q_f32((float *)(p), a)
#include "body.h"

const aicalib_kernel_entry aicalib_kernels_neon[] = {
    {"fp64", "fp64", "neon", AICALIB_CLOCKED(fp64), CYCLES, AICALIB_FP64, AICALIB_HAS_NEON, 24, 2, 1, 0},
    {"fp32", "fp32", "neon", AICALIB_CLOCKED(fp32), CYCLES, AICALIB_FP32, AICALIB_HAS_NEON, 24, 4, 1, 0},
    {0},
};
#else
const aicalib_kernel_entry aicalib_kernels_neon[] = {{0}};
#endif
