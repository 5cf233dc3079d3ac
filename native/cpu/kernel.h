/* What a file of kernels gives to the rest: a table of these, ended by an entry without a name. */
#ifndef AICALIB_KERNEL_H
#define AICALIB_KERNEL_H

#include <stdint.h>

/* Instruction sets that the processor has and the operating system saves the registers of. */
enum {
    AICALIB_HAS_AVX2 = 1u << 0, /* with FMA */
    AICALIB_HAS_AVX512 = 1u << 1,
    AICALIB_HAS_AVX512_BF16 = 1u << 2,
    AICALIB_HAS_AVX512_VNNI = 1u << 3,
    AICALIB_HAS_AVX_VNNI = 1u << 4,
    AICALIB_HAS_NEON = 1u << 5,
    AICALIB_HAS_NEON_DOTPROD = 1u << 6,
    AICALIB_HAS_SVE = 1u << 7,
    AICALIB_HAS_SVE_BF16 = 1u << 8,
    AICALIB_HAS_AMX_BF16 = 1u << 9,
    AICALIB_HAS_AMX_INT8 = 1u << 10
};

/* Those of a unit that multiplies matrices; all others are of the vector units. */
#define AICALIB_MATRIX_UNITS (AICALIB_HAS_AMX_BF16 | AICALIB_HAS_AMX_INT8)

typedef enum { AICALIB_FP64, AICALIB_FP32, AICALIB_INT32 } aicalib_element;

/* Steps every accumulator 2 * pairs times and writes them, one after the other, to `lanes_out` (64-byte aligned).
 * The operands come from the caller's memory, so the compiler can neither fold nor hoist them away. */
typedef void (*aicalib_kernel_function)(int64_t pairs, const int32_t operands[4], void *lanes_out);

enum { AICALIB_PLAIN, AICALIB_VARIANTS = 4 }; /* the plain one, then those with a chain of growing length */

typedef struct {
    const char *precision;
    const char *accumulator;
    const char *instruction_set;
    aicalib_kernel_function run[AICALIB_VARIANTS];
    int32_t chain_cycles; /* cycles a pair that the shortest chain lasts; the others are 2 and 4 times as long */
    aicalib_element element;
    uint32_t needs;
    int32_t accumulators;
    int32_t lanes; /* of an accumulator; with SVE, of 128 bits of one */
    int32_t products;
    int32_t form;
} aicalib_kernel_entry;

#define AICALIB_CLOCKED(name) {name, name##_clocked, name##_clocked_2, name##_clocked_4}

#define AICALIB_MOST_BYTES 6144 /* of all accumulators of the largest kernel: 24 of 2048 bits */

extern const aicalib_kernel_entry aicalib_kernels_amx[];
extern const aicalib_kernel_entry aicalib_kernels_avx512_vnni[];
extern const aicalib_kernel_entry aicalib_kernels_avx512_bf16[];
extern const aicalib_kernel_entry aicalib_kernels_avx512[];
extern const aicalib_kernel_entry aicalib_kernels_avx_vnni[];
extern const aicalib_kernel_entry aicalib_kernels_avx2[];
extern const aicalib_kernel_entry aicalib_kernels_sve[];
extern const aicalib_kernel_entry aicalib_kernels_neon_dotprod[];
extern const aicalib_kernel_entry aicalib_kernels_neon[];
extern const aicalib_kernel_entry aicalib_kernels_portable[];

uint32_t aicalib_features(void);

/* Before the first slice of a kernel with tiles, and before its thread sleeps or does other work: tiles are 8 KiB more to
 * save whenever another thread takes its turn. Not in each slice, which would begin some 300 cycles later for it. */
void aicalib_take_tiles(void);
void aicalib_let_tiles_go(void);

/* How many times 128 bits a vector register of SVE holds. Call it only where the processor has SVE. */
int32_t aicalib_sve_granules(void);

#endif
