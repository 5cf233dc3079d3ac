/* The Scalable Vector Extension of arm64: fp64, fp32 and int8, and bf16 where the processor has it. The same code serves
 * every vector length, so a kernel's lanes are those of 128 bits times `aicalib_sve_granules()`. */
#include "chain.h"
#include "kernel.h"
#include "operands.h"
#include "repeat.h"

#if defined(__aarch64__) && defined(__linux__) && (defined(__clang__) ? __clang_major__ >= 16 : __GNUC__ >= 10)
#include <arm_sve.h>
#include <string.h>

#define SVE __attribute__((target("+sve")))
#define SVE_BF16 __attribute__((target("+sve+bf16")))

SVE int32_t aicalib_sve_granules(void)
{
    return (int32_t)(svcntb() / 16);
}

#define REPEAT AICALIB_REPEAT_24
#define LINK AICALIB_ADDITIONS
#define LINKS 7
#define CYCLES (2 * LINKS * AICALIB_ADDITION_CYCLES)
#define ACCUMULATOR_BYTES svcntb() /* sizeof does not know it */
#define TARGET SVE

#define NAME fp64
#define VECTOR svfloat64_t
#define ACCUMULATOR svfloat64_t
#define OPERAND(x) svdup_f64(x)
#define START(x) svdup_f64(x)
#define STEP(a, m, c) svmla_f64_x(svptrue_b64(), a, m, c)
#define STORE(p, a) svst1_f64(svptrue_b64(), (double *)(p), a)
#include "body.h"

#define NAME fp32
#define VECTOR svfloat32_t
#define ACCUMULATOR svfloat32_t
#define OPERAND(x) svdup_f32((float)(x))
#define START(x) svdup_f32(x)
#define STEP(a, m, c) svmla_f32_x(svptrue_b32(), a, m, c)
#define STORE(p, a) svst1_f32(svptrue_b32(), (float *)(p), a)
#include "body.h"

#define NAME int8
#define VECTOR svint8_t
#define ACCUMULATOR svint32_t
#define OPERAND(x) svdup_s8((int8_t)(x))
#define START(x) svdup_s32(x)
#define STEP(a, m, c) svdot_s32(a, m, c)
#define STORE(p, a) svst1_s32(svptrue_b32(), (int32_t *)(p), a)
#include "body.h"

#undef TARGET
#define TARGET SVE_BF16

SVE_BF16 static inline svbfloat16_t bfloat16(int32_t number)
{
    return svreinterpret_bf16_u16(svdup_u16((uint16_t)two_bfloat16(number)));
}

#define NAME bf16
#define VECTOR svbfloat16_t
#define ACCUMULATOR svfloat32_t
#define OPERAND(x) bfloat16(x)
#define START(x) svdup_f32(x)
#define STEP(a, m, c) svbfdot_f32(a, m, c)
#define STORE(p, a) svst1_f32(svptrue_b32(), (float *)(p), a)
#include "body.h"

const aicalib_kernel_entry aicalib_kernels_sve[] = {
    {"int8", "int32", "sve", AICALIB_CLOCKED(int8), CYCLES, AICALIB_INT32, AICALIB_HAS_SVE, 24, 4, 4, 0},
    {"bf16", "fp32", "sve-bf16", AICALIB_CLOCKED(bf16), CYCLES, AICALIB_FP32, AICALIB_HAS_SVE | AICALIB_HAS_SVE_BF16, 24,
     4, 2, 0},
    {"fp64", "fp64", "sve", AICALIB_CLOCKED(fp64), CYCLES, AICALIB_FP64, AICALIB_HAS_SVE, 24, 2, 1, 0},
    {"fp32", "fp32", "sve", AICALIB_CLOCKED(fp32), CYCLES, AICALIB_FP32, AICALIB_HAS_SVE, 24, 4, 1, 0},
    {0},
};
#else
const aicalib_kernel_entry aicalib_kernels_sve[] = {{0}};

int32_t aicalib_sve_granules(void)
{
    return 1; /* no entry asks */
}
#endif
