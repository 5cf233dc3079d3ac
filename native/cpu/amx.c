/* AMX: the product of two tiles, added to a third: pairs of bfloat16 in fp32, four unsigned with four signed bytes in int32.
 *
 * A tile is 16 rows of 64 bytes. Four of the eight are accumulators, the others hold the operands of a pair of steps: all
 * numbers of a tile are alike, so that one row in memory, read 16 times, fills it. Tiles have numbers and not names, so the
 * loop of body.h, whose accumulators are variables, does not serve here. */
#include "chain.h"
#include "kernel.h"
#include "operands.h"

#if defined(__x86_64__) && defined(__has_include)
#if __has_include(<amxbf16intrin.h>)
#define HAS_TILES
#endif
#endif

#if defined(HAS_TILES)
#include <immintrin.h>

#define TARGET __attribute__((target("amx-tile,amx-bf16,amx-int8")))
#define LINK AICALIB_MULTIPLICATIONS
#define LINKS 24 /* a step is four products, of 16 cycles each where they were measured: 64, and the chain 72 */
#define CYCLES (2 * LINKS * AICALIB_MULTIPLICATION_CYCLES)

enum { ACCUMULATORS = 4, TILES = 8, ROWS = 16, ROW_BYTES = 64, WORDS = ROW_BYTES / 4 };

/* What LDTILECFG reads, of palette 1. */
static const struct {
    uint8_t palette;
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} whole_tiles = {
    .palette = 1,
    .row_bytes = {ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES},
    .rows = {ROWS, ROWS, ROWS, ROWS, ROWS, ROWS, ROWS, ROWS},
};

static uint32_t int32_bits(int32_t number)
{
    return (uint32_t)number;
}

/* Inlined, or each slice begins some 70 cycles later. */
__attribute__((always_inline)) static inline void fill_rows(uint32_t rows[TILES][WORDS], const int32_t operands[4],
                                                            uint32_t (*number)(int32_t), uint32_t (*operand)(int32_t))
{
    for (int32_t tile = 0; tile < TILES; tile++) {
        for (int32_t word = 0; word < WORDS; word++)
            rows[tile][word] = tile < ACCUMULATORS ? number(tile) : operand(operands[tile - ACCUMULATORS]);
    }
}

/* Some compilers do not know that a load of a tile reads memory. */
#define WRITTEN(memory) __asm__ volatile("" : : "r"(memory) : "memory")

#define LOAD(tile) _tile_loadd(tile, rows[tile], 0);
#define STORE(tile) _tile_stored(tile, (char *)lanes_out + ROWS * ROW_BYTES * (tile), ROW_BYTES);
#define ACCUMULATE(X) X(0) X(1) X(2) X(3)
#define FIRST_BF16(tile) _tile_dpbf16ps(tile, 4, 5);
#define SECOND_BF16(tile) _tile_dpbf16ps(tile, 6, 7);
#define FIRST_INT8(tile) _tile_dpbusd(tile, 4, 5);
#define SECOND_INT8(tile) _tile_dpbusd(tile, 6, 7);
#define FUNCTION(name, number, operand, FIRST, SECOND, chain)                                                         \
    TARGET static void name(int64_t pairs, const int32_t operands[4], void *lanes_out)                                \
    {                                                                                                                 \
        _Alignas(64) uint32_t rows[TILES][WORDS];                                                                     \
        fill_rows(rows, operands, number, operand);                                                                   \
        WRITTEN(rows);                                                                                                \
        ACCUMULATE(LOAD)                                                                                              \
        LOAD(4) LOAD(5) LOAD(6) LOAD(7)                                                                               \
        uint64_t x = 3, step = 7;                                                                                     \
        (void)x, (void)step;                                                                                          \
        for (int64_t pair = 0; pair < pairs; pair++) {                                                                \
            ACCUMULATE(FIRST)                                                                                         \
            chain;                                                                                                    \
            ACCUMULATE(SECOND)                                                                                        \
            chain;                                                                                                    \
        }                                                                                                             \
        ACCUMULATE(STORE)                                                                                             \
    }
#define FUNCTIONS(name, ...)                                                                                          \
    FUNCTION(name, __VA_ARGS__, (void)0)                                                                              \
    FUNCTION(name##_clocked, __VA_ARGS__, LINK(LINKS, x, step))                                                       \
    FUNCTION(name##_clocked_2, __VA_ARGS__, LINK(2 * LINKS, x, step))                                                 \
    FUNCTION(name##_clocked_4, __VA_ARGS__, LINK(4 * LINKS, x, step))

FUNCTIONS(bf16, fp32_bits, two_bfloat16, FIRST_BF16, SECOND_BF16)
FUNCTIONS(int8, int32_bits, four_bytes, FIRST_INT8, SECOND_INT8)

TARGET void aicalib_take_tiles(void)
{
    _tile_loadconfig(&whole_tiles);
}

TARGET void aicalib_let_tiles_go(void)
{
    _tile_release();
}

const aicalib_kernel_entry aicalib_kernels_amx[] = {
    {"bf16", "fp32", "amx-bf16", AICALIB_CLOCKED(bf16), CYCLES, AICALIB_FP32, AICALIB_HAS_AMX_BF16, ACCUMULATORS,
     ROWS * WORDS, 2 * WORDS, 0},
    {"int8", "int32", "amx-int8", AICALIB_CLOCKED(int8), CYCLES, AICALIB_INT32, AICALIB_HAS_AMX_INT8, ACCUMULATORS,
     ROWS * WORDS, 4 * WORDS, 0},
    {0},
};
#else
const aicalib_kernel_entry aicalib_kernels_amx[] = {{0}};

/* No entry asks. */
void aicalib_take_tiles(void)
{
}

void aicalib_let_tiles_go(void)
{
}
#endif
