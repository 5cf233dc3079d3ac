/* A subset of PTX, read and executed: what arithmetic kernels of any compiler are made of.
 *
 * After the PTX ISA manual, version 8. Threads are carried out one by one until they meet a barrier or an instruction of
 * the whole warp. What is not known here is refused when the module is loaded; nothing is skipped. */
#ifndef AICALIB_SIMULATED_PTX_H
#define AICALIB_SIMULATED_PTX_H

#include "node.h"

#include <stddef.h>

#define PTX_OPERANDS 24
#define PTX_NAME 256

enum ptx_type {
    T_NONE, T_B8, T_B16, T_B32, T_B64, T_U8, T_U16, T_U32, T_U64, T_S8, T_S16, T_S32, T_S64, T_F16, T_F16X2, T_BF16,
    T_BF16X2, T_TF32, T_E4M3, T_E5M2, T_F32, T_F64, T_PRED
};

enum ptx_space { SPACE_GENERIC, SPACE_GLOBAL, SPACE_SHARED, SPACE_LOCAL, SPACE_PARAM, SPACE_CONST };

enum ptx_operand_kind { OPERAND_REGISTER, OPERAND_VALUE, OPERAND_SPECIAL, OPERAND_ADDRESS, OPERAND_SINK };

/* Special registers. */
enum ptx_special {
    SPECIAL_TID, SPECIAL_NTID = 3, SPECIAL_CTAID = 6, SPECIAL_NCTAID = 9, SPECIAL_LANE = 12, SPECIAL_WARP, SPECIAL_NWARP,
    SPECIAL_SM, SPECIAL_NSM, SPECIAL_CLOCK, SPECIAL_CLOCK64, SPECIAL_TIMER, SPECIAL_MASK_EQ, SPECIAL_MASK_LT,
    SPECIAL_MASK_LE, SPECIAL_MASK_GT, SPECIAL_MASK_GE
};

struct ptx_operand {
    uint8_t kind, space, negated; /* space of an address's symbol */
    int32_t reg;                  /* register, special, or base of an address (-1 = none) */
    uint64_t value;               /* value, or offset of an address */
};

struct ptx_instruction {
    uint16_t op, type, source_type, third_type;
    int32_t guard; /* predicate register, -1 = none */
    uint8_t guard_negated, space, vector, compare, combine, rounding, saturate, flush, wide, high, approximate, carry, uniform;
    uint8_t count, groups, group_start[6], group_size[6];
    uint16_t shape_m, shape_n, shape_k;
    int32_t target, line;
    struct ptx_operand operand[PTX_OPERANDS];
};

struct ptx_parameter { char name[PTX_NAME]; uint32_t offset, size; };

struct ptx_function {
    char name[PTX_NAME];
    struct ptx_instruction *code;
    struct ptx_parameter *parameters;
    uint32_t length, parameter_count, parameter_bytes, registers, shared_bytes, local_bytes;
    uint32_t max_threads;
    bool collective; /* has instructions of a whole warp */
};

struct ptx_module {
    struct ptx_function *functions;
    uint32_t function_count;
    uint8_t *globals; /* .global and .const variables */
    size_t global_bytes;
    struct ptx_symbol *symbols;
    uint32_t symbol_count;
};

struct ptx_symbol { char name[PTX_NAME]; uint8_t space; uint64_t address; uint32_t size; };

/* Errors are CUDA's: 0, 2, 200, 209, 218, 222; `log` says what and where. */
int ptx_load(const char *text, unsigned major, unsigned minor, struct ptx_module *out, char *log, size_t log_size);
void ptx_unload(struct ptx_module *module);

/* Memory that kernels may touch: true if [address, address + size) is the device's. */
typedef bool (*ptx_reachable)(void *context, uint64_t address, size_t size);

struct ptx_launch {
    const struct ptx_function *function;
    const struct node_model *model;
    uint32_t grid[3], block[3], shared_dynamic;
    const uint8_t *parameters;
    ptx_reachable reachable;
    void *context;
    uint64_t budget; /* instructions that may be interpreted */
    bool faulty;     /* a device that computes wrongly: a bit of every stored value is turned */
};

struct ptx_access { uint64_t address, value; uint8_t size; };

/* What was counted, for the whole grid; whether every thread was carried out, or one stood for all. */
struct ptx_result {
    double operations[NODE_UNITS], slots[NODE_UNITS], instructions;
    bool whole, remembered;
    struct ptx_access *loads, *stores;
    uint32_t load_count, store_count;
};

/* 0, 218 (shared memory of threads that did not run), 700 (address), 702 (budget), 719 (trap), 2. */
int ptx_run(const struct ptx_launch *launch, struct ptx_result *out, char *log, size_t log_size);

/* ptx_mma.c */
double ptx_decode(unsigned type, uint64_t bits);
uint64_t ptx_encode(unsigned type, double value);
void ptx_mma(const struct ptx_instruction *i, uint64_t *const lane[32]);

enum ptx_op {
    OP_NONE, OP_MOV, OP_LD, OP_ST, OP_CVTA, OP_CVT, OP_ADD, OP_SUB, OP_MUL, OP_MAD, OP_FMA, OP_DIV, OP_REM, OP_MIN, OP_MAX,
    OP_ABS, OP_NEG, OP_AND, OP_OR, OP_XOR, OP_NOT, OP_CNOT, OP_SHL, OP_SHR, OP_SHF, OP_SETP, OP_SET, OP_SELP, OP_SLCT, OP_BRA, OP_RET,
    OP_EXIT, OP_BAR, OP_MEMBAR, OP_SQRT, OP_RCP, OP_RSQRT, OP_SIN, OP_COS, OP_EX2, OP_LG2, OP_TANH, OP_POPC, OP_CLZ, OP_BREV,
    OP_BFE, OP_BFI, OP_PRMT, OP_LOP3, OP_TRAP, OP_COPYSIGN, OP_TESTP, OP_NANOSLEEP, OP_WARPSYNC, OP_MMA, OP_SHFL, OP_VOTE, OP_ATOM, OP_RED
};

#endif
