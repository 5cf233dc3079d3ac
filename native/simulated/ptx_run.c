/* Executing PTX: threads one after another, each until a barrier, an instruction of its whole warp, or its end. */
#define _GNU_SOURCE
#include "ptx.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARED_WINDOW (1ULL << 60)
#define LOCAL_WINDOW (2ULL << 60)
#define OFFSET_MASK ((1ULL << 60) - 1)
#define REMEMBERED 65536
#define WHOLE_INSTRUCTIONS 40000000.0 /* grids up to so many instructions are carried out thread by thread */

enum state { RUNNING, AT_BARRIER, AT_COLLECTIVE, FINISHED };

struct thread {
    uint64_t *registers;
    uint8_t *local;
    uint32_t tid[3], linear, pc;
    uint8_t state;
};

struct run {
    const struct ptx_launch *launch;
    const struct ptx_function *f;
    struct thread *threads;
    uint64_t *counts; /* by instruction, guard true */
    uint64_t skipped, budget, spent;
    uint32_t ctaid[3], thread_count, block_threads, shared_size;
    uint8_t *shared, *written; /* which bytes of shared memory have been written; NULL when all threads run */
    struct ptx_result *result;
    struct ptx_access *undo;
    uint32_t undo_count;
    bool logging, memorable, stored;
    int error;
    char *log;
    size_t log_size;
};

static void fail(struct run *r, const struct ptx_instruction *i, int code, const char *why)
{
    if (r->error == 0) {
        r->error = code;
        if (r->log_size > 0)
            snprintf(r->log, r->log_size, "%s, line %d: %s", r->f->name, i != NULL ? i->line : 0, why);
    }
}

static unsigned size_of(unsigned type)
{
    static const uint8_t sizes[] = {
        [T_B8] = 1, [T_B16] = 2, [T_B32] = 4, [T_B64] = 8, [T_U8] = 1, [T_U16] = 2, [T_U32] = 4, [T_U64] = 8, [T_S8] = 1,
        [T_S16] = 2, [T_S32] = 4, [T_S64] = 8, [T_F16] = 2, [T_F16X2] = 4, [T_BF16] = 2, [T_BF16X2] = 4, [T_TF32] = 4,
        [T_E4M3] = 1, [T_E5M2] = 1, [T_F32] = 4, [T_F64] = 8, [T_PRED] = 1,
    };
    return sizes[type];
}

static inline float f32(uint64_t bits)
{
    uint32_t half = (uint32_t)bits;
    float f;
    memcpy(&f, &half, 4);
    return f;
}

static inline uint64_t from_f32(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return bits;
}

static inline double f64(uint64_t bits)
{
    double d;
    memcpy(&d, &bits, 8);
    return d;
}

static inline uint64_t from_f64(double d)
{
    uint64_t bits;
    memcpy(&bits, &d, 8);
    return bits;
}

static uint64_t flushed(uint64_t bits)
{
    return (bits & 0x7f800000u) == 0 ? bits & 0x80000000u : bits;
}

static uint64_t saturated(uint64_t bits)
{
    float f = f32(bits);
    return from_f32(!(f > 0) ? 0.0f : f > 1 ? 1.0f : f);
}

static bool is_signed(unsigned type)
{
    return type >= T_S8 && type <= T_S64;
}

static bool is_float(unsigned type)
{
    return type >= T_F16 && type <= T_F64;
}

static int64_t extended(unsigned type, uint64_t bits)
{
    switch (size_of(type)) {
    case 1: return is_signed(type) ? (int64_t)(int8_t)bits : (int64_t)(uint8_t)bits;
    case 2: return is_signed(type) ? (int64_t)(int16_t)bits : (int64_t)(uint16_t)bits;
    case 4: return is_signed(type) ? (int64_t)(int32_t)bits : (int64_t)(uint32_t)bits;
    default: return (int64_t)bits;
    }
}

static uint64_t cut(unsigned type, uint64_t bits)
{
    unsigned size = size_of(type);
    return size >= 8 ? bits : bits & ((1ULL << (8 * size)) - 1);
}

static uint64_t special(struct run *r, const struct thread *t, int which)
{
    const struct ptx_launch *launch = r->launch;
    uint32_t lane = t->linear & 31;
    if (which < SPECIAL_LANE) {
        const uint32_t *of[] = { t->tid, launch->block, r->ctaid, launch->grid };
        return of[which / 3][which % 3];
    }
    switch (which) {
    case SPECIAL_LANE: return lane;
    case SPECIAL_WARP: return t->linear / 32;
    case SPECIAL_NWARP: return (r->block_threads + 31) / 32;
    case SPECIAL_SM: return (r->ctaid[0] + (uint64_t)r->ctaid[1] * launch->grid[0]) % launch->model->cores;
    case SPECIAL_NSM: return launch->model->cores;
    case SPECIAL_CLOCK: return (uint32_t)r->spent;
    case SPECIAL_CLOCK64: case SPECIAL_TIMER: return r->spent;
    case SPECIAL_MASK_EQ: return 1u << lane;
    case SPECIAL_MASK_LT: return (1u << lane) - 1;
    case SPECIAL_MASK_LE: return (2u << lane) - 1;
    case SPECIAL_MASK_GT: return ~((2u << lane) - 1);
    case SPECIAL_MASK_GE: return ~((1u << lane) - 1);
    default: return 0;
    }
}

static uint64_t window(unsigned space)
{
    return space == SPACE_SHARED ? SHARED_WINDOW : space == SPACE_LOCAL ? LOCAL_WINDOW : 0;
}

static inline uint64_t get(struct run *r, struct thread *t, const struct ptx_operand *o)
{
    switch (o->kind) {
    case OPERAND_REGISTER: return t->registers[o->reg] ^ o->negated;
    case OPERAND_VALUE: return o->value;
    case OPERAND_SPECIAL: return special(r, t, o->reg);
    default: return (o->reg >= 0 ? t->registers[o->reg] : 0) + o->value;
    }
}

static inline void put(struct thread *t, const struct ptx_operand *o, uint64_t value)
{
    if (o->kind == OPERAND_REGISTER)
        t->registers[o->reg] = value;
}

static void *memory(struct run *r, struct thread *t, const struct ptx_instruction *i, unsigned space, uint64_t address,
                    unsigned size, bool write)
{
    if (space == SPACE_GENERIC) {
        if (address >> 60 == 1)
            space = SPACE_SHARED;
        else if (address >> 60 == 2)
            space = SPACE_LOCAL;
        else
            space = SPACE_GLOBAL;
    }
    if (address % size != 0) {
        fail(r, i, 700, "misaligned address");
        return NULL;
    }
    uint64_t offset = address & OFFSET_MASK;
    switch (space) {
    case SPACE_PARAM:
        if (!write && offset + size <= r->f->parameter_bytes)
            return (void *)(uintptr_t)(r->launch->parameters + offset);
        break;
    case SPACE_SHARED:
        if (offset + size <= r->shared_size) {
            if (r->written != NULL && write)
                memset(r->written + offset, 1, size);
            for (unsigned b = 0; r->written != NULL && !write && b < size; b++)
                if (!r->written[offset + b]) {
                    fail(r, i, 218, "shared memory that another thread writes, in a grid too large to be interpreted whole");
                    return NULL;
                }
            return r->shared + offset;
        }
        break;
    case SPACE_LOCAL:
        if (offset + size <= r->f->local_bytes)
            return t->local + offset;
        break;
    default:
        if (r->launch->reachable(r->launch->context, address, size))
            return (void *)(uintptr_t)address;
    }
    fail(r, i, 700, "illegal address");
    return NULL;
}

static bool is_global(unsigned space, uint64_t address)
{
    return space == SPACE_GLOBAL || space == SPACE_CONST || (space == SPACE_GENERIC && address >> 60 == 0);
}

static void remember(struct run *r, struct ptx_access **list, uint32_t *count, uint64_t address, uint64_t value, unsigned size)
{
    if (*list == NULL)
        *list = malloc(REMEMBERED * sizeof **list);
    if (*list == NULL || *count >= REMEMBERED)
        r->memorable = false;
    else
        (*list)[(*count)++] = (struct ptx_access){ address, value, (uint8_t)size };
}

static void load(struct run *r, struct thread *t, const struct ptx_instruction *i)
{
    unsigned size = size_of(i->type), count = i->vector ? i->vector : 1;
    uint64_t address = get(r, t, &i->operand[i->group_start[1]]);
    unsigned space = i->space;
    for (unsigned e = 0; e < count; e++, address += size) {
        uint64_t value = 0;
        if (e == 0 && count > 1 && address % (size * count) != 0) {
            fail(r, i, 700, "misaligned address");
            return;
        }
        const void *from = memory(r, t, i, space, address, size, false);
        if (from == NULL)
            return;
        memcpy(&value, from, size);
        if (r->logging && is_global(space, address)) {
            if (r->stored)
                r->memorable = false;
            else if (r->memorable)
                remember(r, &r->result->loads, &r->result->load_count, address, value, size);
        }
        put(t, &i->operand[i->group_start[0] + e], is_signed(i->type) ? (uint64_t)extended(i->type, value) : value);
    }
}

static void store_value(struct run *r, struct thread *t, const struct ptx_instruction *i, unsigned space, uint64_t address,
                        uint64_t value, unsigned size)
{
    void *to = memory(r, t, i, space, address, size, true);
    if (to == NULL)
        return;
    if (r->launch->faulty && size >= 2)
        value ^= 1ULL << (8 * size - 10);
    if (r->logging && is_global(space, address)) {
        if (r->undo == NULL)
            r->undo = malloc(REMEMBERED * sizeof *r->undo);
        if (r->undo == NULL || r->undo_count >= REMEMBERED) {
            fail(r, i, 218, "a thread that stores so much in so large a grid is not interpreted");
            return;
        }
        struct ptx_access *u = &r->undo[r->undo_count++];
        *u = (struct ptx_access){ address, 0, (uint8_t)size };
        memcpy(&u->value, to, size);
        r->stored = true;
        if (r->memorable)
            remember(r, &r->result->stores, &r->result->store_count, address, value, size);
    }
    memcpy(to, &value, size);
}

static void store(struct run *r, struct thread *t, const struct ptx_instruction *i)
{
    unsigned size = size_of(i->type), count = i->vector ? i->vector : 1;
    uint64_t address = get(r, t, &i->operand[i->group_start[0]]);
    if (count > 1 && address % (size * count) != 0) {
        fail(r, i, 700, "misaligned address");
        return;
    }
    for (unsigned e = 0; e < count && !r->error; e++)
        store_value(r, t, i, i->space, address + e * size, get(r, t, &i->operand[i->group_start[1] + e]), size);
}

static void atomic(struct run *r, struct thread *t, const struct ptx_instruction *i)
{
    if (r->logging) {
        fail(r, i, 218, "an atomic in a grid too large to be interpreted whole");
        return;
    }
    unsigned first = i->op == OP_ATOM, size = size_of(i->type);
    uint64_t address = get(r, t, &i->operand[i->group_start[first]]), b = get(r, t, &i->operand[i->group_start[first + 1]]);
    uint64_t old = 0, now;
    const void *from = memory(r, t, i, i->space, address, size, false);
    if (from == NULL)
        return;
    memcpy(&old, from, size);
    int64_t x = extended(i->type, old), y = extended(i->type, b);
    switch (i->combine) {
    case 1: now = i->type == T_F32 ? from_f32(f32(old) + f32(b)) : i->type == T_F64 ? from_f64(f64(old) + f64(b)) : (uint64_t)x + (uint64_t)y; break;
    case 2: now = (uint64_t)((is_signed(i->type) ? x < y : (uint64_t)x < (uint64_t)y) ? x : y); break;
    case 3: now = (uint64_t)((is_signed(i->type) ? x > y : (uint64_t)x > (uint64_t)y) ? x : y); break;
    case 4: now = old & b; break;
    case 5: now = old | b; break;
    case 6: now = old ^ b; break;
    case 7: now = b; break;
    case 8: now = i->groups > 3 && cut(i->type, old) == cut(i->type, b) ? get(r, t, &i->operand[i->group_start[3]]) : old; break;
    default: fail(r, i, 218, "this atomic is not interpreted"); return;
    }
    store_value(r, t, i, i->space, address, cut(i->type, now), size);
    if (first)
        put(t, &i->operand[0], old);
}

/* a * b + c in a format of few bits, rounded once: to odd in double first, then to the format. */
static double fused(double a, double b, double c)
{
    double p = a * b, s = p + c, rest = s - p, error = (p - (s - rest)) + (c - rest);
    if (error != 0 && isfinite(s)) {
        uint64_t bits = from_f64(s);
        if (!(bits & 1))
            s = f64(bits + ((error > 0) == (s > 0) ? 1 : -1));
    }
    return s;
}

static uint64_t small_arithmetic(const struct ptx_instruction *i, unsigned type, uint64_t a, uint64_t b, uint64_t c)
{
    double x = ptx_decode(type, a), y = ptx_decode(type, b), z = ptx_decode(type, c), value;
    switch (i->op) {
    case OP_ADD: value = x + y; break;
    case OP_SUB: value = x - y; break;
    case OP_MUL: value = x * y; break;
    case OP_MIN: value = fmin(x, y); break;
    case OP_MAX: value = fmax(x, y); break;
    case OP_ABS: value = fabs(x); break;
    case OP_NEG: value = -x; break;
    case OP_EX2: value = exp2(x); break;
    case OP_TANH: value = tanh(x); break;
    default: value = fused(x, y, z);
    }
    if (i->saturate)
        value = !(value > 0) ? 0 : value > 1 ? 1 : value;
    return ptx_encode(type, value);
}

static uint64_t small_vector(const struct ptx_instruction *i, uint64_t a, uint64_t b, uint64_t c)
{
    bool pair = i->type == T_F16X2 || i->type == T_BF16X2;
    unsigned type = i->type == T_F16X2 ? T_F16 : i->type == T_BF16X2 ? T_BF16 : i->type;
    uint64_t low = small_arithmetic(i, type, a, b, c);
    return pair ? low | small_arithmetic(i, type, a >> 16, b >> 16, c >> 16) << 16 : low;
}

static uint64_t float_arithmetic(const struct ptx_instruction *i, uint64_t a, uint64_t b, uint64_t c)
{
    if (i->type == T_F64) {
        double x = f64(a), y = f64(b);
        switch (i->op) {
        case OP_ADD: return from_f64(x + y);
        case OP_SUB: return from_f64(x - y);
        case OP_MUL: return from_f64(x * y);
        case OP_DIV: return from_f64(x / y);
        case OP_MIN: return from_f64(fmin(x, y));
        case OP_MAX: return from_f64(fmax(x, y));
        case OP_ABS: return a & ~(1ULL << 63);
        case OP_NEG: return a ^ 1ULL << 63;
        case OP_SQRT: return from_f64(sqrt(x));
        case OP_RCP: return from_f64(1 / x);
        case OP_RSQRT: return from_f64(1 / sqrt(x));
        case OP_COPYSIGN: return (b & ~(1ULL << 63)) | (a & 1ULL << 63);
        default: return from_f64(fma(x, y, f64(c)));
        }
    }
    if (i->flush) {
        a = flushed(a);
        b = flushed(b);
        c = flushed(c);
    }
    float x = f32(a), y = f32(b);
    uint64_t value;
    switch (i->op) {
    case OP_ADD: value = from_f32(x + y); break;
    case OP_SUB: value = from_f32(x - y); break;
    case OP_MUL: value = from_f32(x * y); break;
    case OP_DIV: value = from_f32(x / y); break;
    case OP_MIN: value = from_f32(fminf(x, y)); break;
    case OP_MAX: value = from_f32(fmaxf(x, y)); break;
    case OP_ABS: return a & 0x7fffffffu;
    case OP_NEG: return a ^ 0x80000000u;
    case OP_SQRT: value = from_f32(sqrtf(x)); break;
    case OP_RCP: value = from_f32(1 / x); break;
    case OP_RSQRT: value = from_f32((float)(1 / sqrt((double)x))); break;
    case OP_SIN: value = from_f32(sinf(x)); break;
    case OP_COS: value = from_f32(cosf(x)); break;
    case OP_EX2: value = from_f32(exp2f(x)); break;
    case OP_LG2: value = from_f32(log2f(x)); break;
    case OP_TANH: value = from_f32(tanhf(x)); break;
    case OP_COPYSIGN: return (b & 0x7fffffffu) | (a & 0x80000000u);
    default: value = from_f32(fmaf(x, y, f32(c)));
    }
    if (i->flush)
        value = flushed(value);
    return i->saturate ? saturated(value) : value;
}

static uint64_t integer_arithmetic(struct run *r, const struct ptx_instruction *i, uint64_t a, uint64_t b, uint64_t c)
{
    unsigned bits = 8 * size_of(i->type);
    int64_t x = extended(i->type, a), y = extended(i->type, b);
    bool sign = is_signed(i->type);
    switch (i->op) {
    case OP_ADD:
        if (i->saturate) {
            int64_t sum = x + y;
            return (uint32_t)(int32_t)(sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum);
        }
        return a + b;
    case OP_SUB: return a - b;
    case OP_MUL: case OP_MAD: {
        uint64_t product;
        if (i->high) {
            if (bits == 64)
                product = sign ? (uint64_t)((__int128)x * y >> 64) : (uint64_t)((unsigned __int128)a * b >> 64);
            else
                product = (uint64_t)(sign ? (x * y) >> bits : (int64_t)((uint64_t)x * (uint64_t)y >> bits));
        } else {
            product = (uint64_t)x * (uint64_t)y;
        }
        return i->op == OP_MAD ? product + c : product;
    }
    case OP_DIV:
    case OP_REM:
        if (y == 0)
            return ~0ULL; /* unspecified by the manual */
        if (sign) {
            if (y == -1)
                return i->op == OP_DIV ? 0 - (uint64_t)x : 0;
            return (uint64_t)(i->op == OP_DIV ? x / y : x % y);
        }
        return i->op == OP_DIV ? (uint64_t)x / (uint64_t)y : (uint64_t)x % (uint64_t)y;
    case OP_MIN: return (uint64_t)((sign ? x < y : (uint64_t)x < (uint64_t)y) ? x : y);
    case OP_MAX: return (uint64_t)((sign ? x > y : (uint64_t)x > (uint64_t)y) ? x : y);
    case OP_ABS: return x < 0 ? 0 - (uint64_t)x : (uint64_t)x;
    case OP_NEG: return 0 - (uint64_t)x;
    case OP_AND: return a & b;
    case OP_OR: return a | b;
    case OP_XOR: return a ^ b;
    case OP_NOT: return ~a;
    case OP_CNOT: return cut(i->type, a) == 0;
    case OP_SHL: return (uint32_t)b >= bits ? 0 : a << (uint32_t)b;
    case OP_SHR: {
        uint32_t by = (uint32_t)b;
        if (sign)
            return (uint64_t)(x >> (by >= bits ? bits - 1 : by));
        return by >= bits ? 0 : (uint64_t)x >> by;
    }
    case OP_SHF: {
        uint32_t by = i->wide ? (uint32_t)c & 31 : (uint32_t)c > 32 ? 32 : (uint32_t)c;
        uint64_t both = (uint64_t)(uint32_t)b << 32 | (uint32_t)a;
        return i->high ? both >> by : by == 32 ? (uint32_t)a : (both << by) >> 32;
    }
    case OP_POPC: return (uint64_t)__builtin_popcountll(cut(i->type, a));
    case OP_CLZ: return cut(i->type, a) == 0 ? bits : (uint64_t)__builtin_clzll(cut(i->type, a)) - (64 - bits);
    case OP_BREV: {
        uint64_t out = 0;
        for (unsigned n = 0; n < bits; n++)
            out |= (a >> n & 1) << (bits - 1 - n);
        return out;
    }
    case OP_BFE: {
        uint32_t at = (uint32_t)b & 0xff, length = (uint32_t)c & 0xff;
        if (length == 0 || at >= bits)
            return length == 0 || !sign || x >= 0 ? 0 : ~0ULL;
        if (at + length > bits)
            length = bits - at;
        uint64_t field = (uint64_t)x >> at;
        if (length < 64)
            field &= (1ULL << length) - 1;
        return sign && length < 64 && field >> (length - 1) & 1 ? field | ~0ULL << length : field;
    }
    case OP_PRMT: {
        uint64_t bytes = (uint64_t)(uint32_t)b << 32 | (uint32_t)a, out = 0;
        for (unsigned n = 0; n < 4; n++) {
            unsigned selector = (unsigned)(c >> (4 * n)) & 15;
            uint64_t byte = bytes >> (8 * (selector & 7)) & 0xff;
            out |= (selector & 8 ? (byte & 0x80 ? 0xffULL : 0) : byte) << (8 * n);
        }
        return out;
    }
    default: fail(r, i, 218, "not interpreted for this type"); return 0;
    }
}

static bool compared(const struct ptx_instruction *i, unsigned type, uint64_t a, uint64_t b)
{
    unsigned c = i->compare;
    if (is_float(type)) {
        double x = ptx_decode(type, a), y = ptx_decode(type, b);
        bool unordered = isnan(x) || isnan(y);
        switch (c) {
        case 1: return x == y;
        case 2: return !unordered && x != y;
        case 3: return x < y;
        case 4: return x <= y;
        case 5: return x > y;
        case 6: return x >= y;
        case 11: return unordered || x == y;
        case 12: return unordered || x != y;
        case 13: return unordered || x < y;
        case 14: return unordered || x <= y;
        case 15: return unordered || x > y;
        case 16: return unordered || x >= y;
        case 17: return !unordered;
        default: return unordered;
        }
    }
    int64_t x = extended(type, a), y = extended(type, b);
    uint64_t u = (uint64_t)x, v = (uint64_t)y;
    bool sign = is_signed(type);
    switch (c) {
    case 1: return x == y;
    case 2: return x != y;
    case 3: return sign ? x < y : u < v;
    case 4: return sign ? x <= y : u <= v;
    case 5: return sign ? x > y : u > v;
    case 6: return sign ? x >= y : u >= v;
    case 7: return u < v;
    case 8: return u <= v;
    case 9: return u > v;
    default: return u >= v;
    }
}

static void convert(struct run *r, struct thread *t, const struct ptx_instruction *i)
{
    uint64_t a = get(r, t, &i->operand[1]), out;
    unsigned to = i->type, from = i->source_type;
    if (i->groups == 3) { /* two f32 packed: the first into the upper half */
        unsigned half = to == T_BF16X2 ? T_BF16 : T_F16;
        out = ptx_encode(half, f32(a)) << 16 | ptx_encode(half, f32(get(r, t, &i->operand[2])));
    } else if (is_float(from) && is_float(to)) {
        double value = ptx_decode(from, i->flush && from == T_F32 ? flushed(a) : a);
        value = i->rounding == 5 ? nearbyint(value) : i->rounding == 6 ? trunc(value) : i->rounding == 7 ? floor(value) : i->rounding == 8 ? ceil(value) : value;
        if (i->saturate && to != T_TF32)
            value = !(value > 0) ? 0 : value > 1 ? 1 : value;
        if (i->rounding == 9 && to == T_TF32)
            out = (flushed(a) + 0x1000) & 0xffffe000u; /* nearest, ties away */
        else if (i->rounding == 2 && to == T_F32) {
            float f = (float)value;
            if (fabs((double)f) > fabs(value))
                f = nextafterf(f, 0.0f);
            out = from_f32(f);
        } else
            out = ptx_encode(to, value);
    } else if (is_float(from)) {
        double value = ptx_decode(from, a);
        value = i->rounding == 6 || i->rounding == 0 ? trunc(value) : i->rounding == 7 ? floor(value) : i->rounding == 8 ? ceil(value) : nearbyint(value);
        unsigned bits = 8 * size_of(to);
        double most = is_signed(to) ? ldexp(1, (int)bits - 1) : ldexp(1, (int)bits), least = is_signed(to) ? -most : 0;
        if (isnan(value))
            out = 0;
        else if (value >= most)
            out = is_signed(to) ? (uint64_t)((1ULL << (bits - 1)) - 1) : bits == 64 ? ~0ULL : (1ULL << bits) - 1;
        else if (value <= least)
            out = is_signed(to) ? 0 - (1ULL << (bits - 1)) : 0;
        else
            out = is_signed(to) ? (uint64_t)(int64_t)value : (uint64_t)value;
    } else if (is_float(to)) {
        int64_t x = extended(from, a);
        if (to == T_F32)
            out = is_signed(from) ? from_f32((float)x) : from_f32((float)(uint64_t)x);
        else
            out = ptx_encode(to, is_signed(from) ? (double)x : (double)(uint64_t)x);
    } else {
        int64_t x = extended(from, a);
        if (i->saturate) {
            unsigned bits = 8 * size_of(to);
            __int128 value = is_signed(from) ? x : (__int128)(uint64_t)x;
            __int128 most = is_signed(to) ? ((__int128)1 << (bits - 1)) - 1 : ((__int128)1 << bits) - 1;
            __int128 least = is_signed(to) ? -((__int128)1 << (bits - 1)) : 0;
            x = (int64_t)(value > most ? most : value < least ? least : value);
        }
        out = (uint64_t)x;
    }
    put(t, &i->operand[0], cut(to, out));
}

static void compare(struct run *r, struct thread *t, const struct ptx_instruction *i)
{
    unsigned first = i->group_start[1];
    unsigned type = i->op == OP_SET ? i->source_type : i->type;
    uint64_t a = get(r, t, &i->operand[first]), b = get(r, t, &i->operand[i->group_start[2]]);
    if (i->flush && type == T_F32) {
        a = flushed(a);
        b = flushed(b);
    }
    bool is = compared(i, type, a, b), other = !is;
    if (i->groups == 4) {
        bool c = get(r, t, &i->operand[i->group_start[3]]) & 1;
        is = i->combine == 1 ? is && c : i->combine == 2 ? is || c : is != c;
        other = i->combine == 1 ? other && c : i->combine == 2 ? other || c : other != c;
    }
    if (i->op == OP_SET) {
        put(t, &i->operand[0], !is ? 0 : i->type == T_F32 ? from_f32(1) : 0xffffffffu);
    } else {
        put(t, &i->operand[0], is);
        if (i->group_size[0] == 2)
            put(t, &i->operand[1], other);
    }
}

static void move(struct run *r, struct thread *t, const struct ptx_instruction *i)
{
    unsigned to = i->group_size[0], from = i->group_size[1], start = i->group_start[1];
    if (to == from) {
        for (unsigned e = 0; e < to; e++) {
            const struct ptx_operand *o = &i->operand[start + e];
            put(t, &i->operand[e], get(r, t, o));
        }
    } else if (to == 1) { /* pack */
        unsigned bits = 8 * size_of(i->type) / from;
        uint64_t out = 0;
        for (unsigned e = 0; e < from; e++)
            out |= (get(r, t, &i->operand[start + e]) & (bits >= 64 ? ~0ULL : (1ULL << bits) - 1)) << (e * bits);
        put(t, &i->operand[0], out);
    } else { /* unpack */
        unsigned bits = 8 * size_of(i->type) / to;
        uint64_t value = get(r, t, &i->operand[start]);
        for (unsigned e = 0; e < to; e++)
            put(t, &i->operand[e], value >> (e * bits) & ((1ULL << bits) - 1));
    }
}

static void execute(struct run *r, struct thread *t, const struct ptx_instruction *i)
{
    const struct ptx_operand *o = i->operand;
    switch (i->op) {
    case OP_MOV: move(r, t, i); return;
    case OP_LD: load(r, t, i); return;
    case OP_ST: store(r, t, i); return;
    case OP_ATOM: case OP_RED: atomic(r, t, i); return;
    case OP_CVTA: {
        bool to = false;
        uint64_t a = get(r, t, &o[1]);
        if (o[1].kind == OPERAND_ADDRESS)
            to = false;
        else
            to = a >> 60 != 0;
        put(t, &o[0], to ? a & OFFSET_MASK : a | window(i->space));
        return;
    }
    case OP_CVT: convert(r, t, i); return;
    case OP_SETP: case OP_SET: compare(r, t, i); return;
    case OP_SELP: put(t, &o[0], get(r, t, &o[3]) & 1 ? get(r, t, &o[1]) : get(r, t, &o[2])); return;
    case OP_SLCT: {
        uint64_t c = get(r, t, &o[3]);
        bool positive = i->source_type == T_F32 ? f32(c) >= 0 : (int32_t)c >= 0;
        put(t, &o[0], positive ? get(r, t, &o[1]) : get(r, t, &o[2]));
        return;
    }
    case OP_LOP3: {
        uint32_t a = (uint32_t)get(r, t, &o[1]), b = (uint32_t)get(r, t, &o[2]), c = (uint32_t)get(r, t, &o[3]), out = 0;
        uint32_t table = (uint32_t)get(r, t, &o[4]);
        for (unsigned n = 0; n < 32; n++)
            out |= (table >> ((a >> n & 1) << 2 | (b >> n & 1) << 1 | (c >> n & 1)) & 1) << n;
        put(t, &o[0], out);
        return;
    }
    case OP_BFI: {
        unsigned bits = 8 * size_of(i->type);
        uint64_t a = get(r, t, &o[1]), b = get(r, t, &o[2]);
        uint32_t at = (uint32_t)get(r, t, &o[3]) & 0xff, length = (uint32_t)get(r, t, &o[4]) & 0xff;
        if (at < bits && length > 0) {
            uint64_t mask = (length >= 64 ? ~0ULL : (1ULL << length) - 1) << at;
            b = (b & ~mask) | (a << at & mask);
        }
        put(t, &o[0], cut(i->type, b));
        return;
    }
    case OP_TESTP: {
        double x = ptx_decode(i->type, get(r, t, &o[1]));
        float f = (float)x;
        bool normal = i->type == T_F64 ? isnormal(x) : isnormal(f);
        bool is = i->combine == 1 ? isfinite(x) : i->combine == 2 ? isinf(x) : i->combine == 3 ? !isnan(x) : i->combine == 4 ? isnan(x)
                : i->combine == 5 ? normal : isfinite(x) && x != 0 && !normal;
        put(t, &o[0], is);
        return;
    }
    case OP_MEMBAR: case OP_NANOSLEEP: return;
    case OP_TRAP: fail(r, i, 719, "trap"); return;
    }
    uint64_t a = get(r, t, &o[1]), b = i->groups > 2 ? get(r, t, &o[2]) : 0, c = i->groups > 3 ? get(r, t, &o[3]) : 0, out;
    if (i->type == T_F32 || i->type == T_F64)
        out = float_arithmetic(i, a, b, c);
    else if (i->type == T_F16 || i->type == T_BF16 || i->type == T_F16X2 || i->type == T_BF16X2)
        out = small_vector(i, a, b, c);
    else if (i->type == T_PRED)
        out = (i->op == OP_AND ? a & b : i->op == OP_OR ? a | b : i->op == OP_XOR ? a ^ b : ~a) & 1;
    else if (i->wide && (i->op == OP_MUL || i->op == OP_MAD)) { /* a product of twice the width */
        int64_t x = extended(i->type, a), y = extended(i->type, b);
        out = (uint64_t)x * (uint64_t)y + c;
        if (size_of(i->type) == 2)
            out = (uint32_t)out;
    } else {
        out = cut(i->op == OP_POPC || i->op == OP_CLZ ? T_B32 : i->type, integer_arithmetic(r, i, a, b, c));
    }
    put(t, &o[0], out);
}

static inline __attribute__((always_inline)) void run_loop(struct run *r, struct thread *t)
{
    const struct ptx_instruction *code = r->f->code;
    uint64_t *registers = t->registers;
    uint64_t left = r->budget - r->spent, begun = left;
    uint32_t pc = t->pc, length = r->f->length;
    while (!r->error) {
        if (pc >= length) {
            t->state = FINISHED;
            break;
        }
        if (left-- == 0) {
            left = 0;
            fail(r, &code[pc], 702, "the launch runs longer than the simulator interprets");
            break;
        }
        const struct ptx_instruction *i = &code[pc];
        if (i->guard >= 0 && (registers[i->guard] & 1) == i->guard_negated) {
            r->skipped++;
            pc++;
            continue;
        }
        const struct ptx_operand *o = i->operand;
        if (i->op == OP_FMA && i->type == T_F32 && !i->flush && !i->saturate) {
            put(t, &o[0], from_f32(__builtin_fmaf(f32(get(r, t, &o[1])), f32(get(r, t, &o[2])), f32(get(r, t, &o[3])))));
        } else if (i->op == OP_FMA && i->type == T_F64) {
            put(t, &o[0], from_f64(__builtin_fma(f64(get(r, t, &o[1])), f64(get(r, t, &o[2])), f64(get(r, t, &o[3])))));
        } else if (i->op == OP_BRA) {
            r->counts[pc]++;
            pc = (uint32_t)i->target;
            continue;
        } else if (i->op == OP_RET || i->op == OP_EXIT) {
            r->counts[pc]++;
            t->state = FINISHED;
            break;
        } else if (i->op == OP_BAR) {
            r->counts[pc++]++;
            if (r->thread_count > 1 || r->written == NULL) {
                t->state = AT_BARRIER;
                break;
            }
            continue;
        } else if (i->op == OP_MMA || i->op == OP_SHFL || i->op == OP_VOTE || i->op == OP_WARPSYNC) {
            t->state = AT_COLLECTIVE;
            left++; /* counted when the warp carries it out */
            break;
        } else {
            execute(r, t, i);
        }
        r->counts[pc++]++;
    }
    t->pc = pc;
    r->spent += begun - left;
}

#if defined(__x86_64__)
__attribute__((target("fma"))) static void run_with_fma(struct run *r, struct thread *t)
{
    run_loop(r, t);
}
#endif

static void run_plain(struct run *r, struct thread *t)
{
    run_loop(r, t);
}

static void run_thread(struct run *r, struct thread *t)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("fma")) {
        run_with_fma(r, t);
        return;
    }
#endif
    run_plain(r, t);
}

/* One instruction of a whole warp; every lane of it must have come to the same one. */
static void collective(struct run *r, struct thread *warp)
{
    uint64_t *lane[32];
    const struct ptx_instruction *i = &r->f->code[warp[0].pc];
    for (;;) {
        uint32_t pc = warp[0].pc;
        i = &r->f->code[pc];
        for (unsigned l = 0; l < 32; l++) {
            if (warp[l].pc != pc || (i->guard >= 0 && (warp[l].registers[i->guard] & 1) == i->guard_negated && i->op != OP_WARPSYNC)) {
                fail(r, i, 218, "a divergent warp at an instruction of the whole warp");
                return;
            }
            lane[l] = warp[l].registers;
        }
        if (i->op == OP_MMA) {
            ptx_mma(i, lane);
        } else if (i->op == OP_SHFL) {
            uint64_t value[32], out[32];
            bool valid[32];
            for (unsigned l = 0; l < 32; l++)
                value[l] = get(r, &warp[l], &i->operand[i->group_start[1]]);
            for (unsigned l = 0; l < 32; l++) {
                uint32_t b = (uint32_t)get(r, &warp[l], &i->operand[i->group_start[2]]) & 31;
                uint32_t c = (uint32_t)get(r, &warp[l], &i->operand[i->group_start[3]]);
                uint32_t segment = c >> 8 & 31, clamp = c & 31, most = (l & segment) | (clamp & ~segment), least = l & segment;
                int32_t j = i->combine == 1 ? (int32_t)l - (int32_t)b : i->combine == 2 ? (int32_t)(l + b) : i->combine == 3 ? (int32_t)(l ^ b)
                          : (int32_t)(least | (b & ~segment));
                valid[l] = i->combine == 1 ? j >= (int32_t)most : j <= (int32_t)most;
                out[l] = value[valid[l] ? j & 31 : (int32_t)l];
            }
            for (unsigned l = 0; l < 32; l++) {
                put(&warp[l], &i->operand[0], out[l]);
                if (i->group_size[0] == 2)
                    put(&warp[l], &i->operand[1], valid[l]);
            }
        } else if (i->op == OP_VOTE) {
            uint32_t ballot = 0;
            for (unsigned l = 0; l < 32; l++)
                ballot |= (uint32_t)(get(r, &warp[l], &i->operand[i->group_start[1]]) & 1) << l;
            uint64_t out = i->combine == 1 ? ballot == ~0u : i->combine == 2 ? ballot != 0 : i->combine == 3 ? ballot == 0 || ballot == ~0u : ballot;
            for (unsigned l = 0; l < 32; l++)
                put(&warp[l], &i->operand[0], out);
        }
        r->counts[pc] += 32;
        r->spent += 32;
        if (r->spent > r->budget)
            fail(r, i, 702, "the launch runs longer than the simulator interprets");
        for (unsigned l = 0; l < 32; l++)
            warp[l].pc = pc + 1;
        if (r->error || pc + 1 >= r->f->length || r->f->code[pc + 1].op != OP_MMA || r->f->code[pc + 1].guard >= 0)
            break;
    }
    for (unsigned l = 0; l < 32; l++)
        warp[l].state = RUNNING;
}

/* Run the threads that stand ready until all have finished. */
static void run_block(struct run *r)
{
    uint32_t finished = 0;
    while (!r->error && finished < r->thread_count) {
        bool moved = false;
        finished = 0;
        uint32_t waiting = 0;
        for (uint32_t n = 0; n < r->thread_count && !r->error; n++) {
            struct thread *t = &r->threads[n];
            if (t->state == RUNNING) {
                run_thread(r, t);
                moved = true;
            }
            if ((n & 31) == 31) {
                struct thread *warp = t - 31;
                uint32_t arrived = 0;
                for (unsigned l = 0; l < 32; l++)
                    arrived += warp[l].state == AT_COLLECTIVE;
                if (arrived == 32) {
                    collective(r, warp);
                    moved = true;
                }
            }
        }
        for (uint32_t n = 0; n < r->thread_count; n++) {
            finished += r->threads[n].state == FINISHED;
            waiting += r->threads[n].state == AT_BARRIER;
        }
        if (waiting > 0 && waiting + finished == r->thread_count) {
            for (uint32_t n = 0; n < r->thread_count; n++)
                if (r->threads[n].state == AT_BARRIER)
                    r->threads[n].state = RUNNING;
            moved = true;
        }
        if (!moved && finished < r->thread_count)
            fail(r, &r->f->code[r->threads[0].pc < r->f->length ? r->threads[0].pc : 0], 218, "threads wait for each other for ever, or for part of a warp");
    }
}

static void reset_threads(struct run *r)
{
    const uint32_t *block = r->launch->block;
    for (uint32_t n = 0; n < r->thread_count; n++) {
        struct thread *t = &r->threads[n];
        memset(t->registers, 0, r->f->registers * sizeof *t->registers);
        t->linear = n;
        t->tid[0] = n % block[0];
        t->tid[1] = n / block[0] % block[1];
        t->tid[2] = n / block[0] / block[1];
        t->pc = 0;
        t->state = RUNNING;
    }
    memset(r->shared, 0, r->shared_size);
    if (r->written != NULL)
        memset(r->written, 0, r->shared_size);
}

/* Which unit carries an instruction out, how many operations it is, and how many slots of the unit it takes. */
static void classify(const struct ptx_instruction *i, unsigned *unit, double *operations, double *slots)
{
    bool pair = i->type == T_F16X2 || i->type == T_BF16X2;
    *operations = *slots = 0;
    *unit = UNIT_INTEGER;
    if (i->op == OP_MMA) {
        *unit = i->source_type == T_F64 ? UNIT_MATRIX_FP64 : i->source_type == T_TF32 ? UNIT_MATRIX_TF32 : i->source_type == T_F16 ? UNIT_MATRIX_FP16
              : i->source_type == T_BF16 ? UNIT_MATRIX_BF16 : i->source_type == T_S8 || i->source_type == T_U8 ? UNIT_MATRIX_INT8 : UNIT_MATRIX_FP8;
        *operations = *slots = 2.0 * i->shape_m * i->shape_n * i->shape_k / 32;
        return;
    }
    bool arithmetic = i->op >= OP_ADD && i->op <= OP_NEG;
    if (is_float(i->type) && arithmetic) {
        *unit = i->type == T_F64 ? UNIT_FP64 : i->type == T_F32 ? UNIT_FP32 : i->type == T_F16 || i->type == T_F16X2 ? UNIT_FP16 : UNIT_BF16;
        bool fusedop = i->op == OP_FMA || i->op == OP_MAD, counted = fusedop || i->op == OP_ADD || i->op == OP_SUB || i->op == OP_MUL;
        *slots = pair ? 4 : 2;
        *operations = (fusedop ? 2 : counted ? 1 : 0) * (pair ? 2 : 1);
        if (i->op == OP_DIV) {
            *unit = UNIT_SPECIAL;
            *operations = 1;
            *slots = 4;
        }
        return;
    }
    switch (i->op) {
    case OP_SQRT: case OP_RCP: case OP_RSQRT: case OP_SIN: case OP_COS: case OP_EX2: case OP_LG2: case OP_TANH:
        *unit = UNIT_SPECIAL;
        *operations = *slots = 1;
        return;
    case OP_CVT: *unit = UNIT_SPECIAL; *slots = 1; return;
    case OP_LD: case OP_ST: case OP_ATOM: case OP_RED:
        *unit = UNIT_MEMORY;
        *slots = i->space == SPACE_PARAM ? 0 : i->vector ? i->vector : 1;
        return;
    case OP_MOV: case OP_CVTA: case OP_BRA: case OP_RET: case OP_EXIT: case OP_BAR: case OP_MEMBAR: case OP_WARPSYNC: case OP_NANOSLEEP:
        return;
    default:
        *operations = arithmetic ? (i->op == OP_MAD ? 2 : 1) : 0;
        *slots = 1;
    }
}

static bool prepare(struct run *r, uint32_t threads)
{
    size_t registers = (size_t)threads * (r->f->registers ? r->f->registers : 1);
    r->thread_count = threads;
    r->threads = calloc(threads, sizeof *r->threads);
    uint64_t *all = calloc(registers, sizeof *all);
    uint8_t *local = calloc((size_t)threads * r->f->local_bytes + 1, 1);
    if (r->threads == NULL || all == NULL || local == NULL) {
        free(r->threads);
        free(all);
        free(local);
        r->threads = NULL;
        return false;
    }
    for (uint32_t n = 0; n < threads; n++) {
        r->threads[n].registers = all + (size_t)n * (r->f->registers ? r->f->registers : 1);
        r->threads[n].local = local + (size_t)n * r->f->local_bytes;
    }
    return true;
}

static void dispose(struct run *r)
{
    if (r->threads != NULL) {
        free(r->threads[0].registers);
        free(r->threads[0].local);
        free(r->threads);
        r->threads = NULL;
    }
}

int ptx_run(const struct ptx_launch *launch, struct ptx_result *out, char *log, size_t log_size)
{
    const struct ptx_function *f = launch->function;
    uint32_t block_threads = launch->block[0] * launch->block[1] * launch->block[2];
    double blocks = (double)launch->grid[0] * launch->grid[1] * launch->grid[2], threads = blocks * block_threads;
    memset(out, 0, sizeof *out);
    struct run r = {
        .launch = launch, .f = f, .block_threads = block_threads, .budget = launch->budget, .result = out, .log = log,
        .log_size = log_size, .logging = true, .memorable = true,
        .shared_size = (f->shared_bytes + 15) / 16 * 16 + launch->shared_dynamic,
    };
    if (f->collective && block_threads % 32 != 0) {
        fail(&r, NULL, 218, "a warp that is not full, with instructions of a whole warp");
        return r.error;
    }
    r.counts = calloc(f->length + 1, sizeof *r.counts);
    r.shared = calloc(r.shared_size + 8, 1);
    r.written = calloc(r.shared_size + 8, 1);
    uint32_t representatives = f->collective ? 32 : 1;
    if (r.counts == NULL || r.shared == NULL || r.written == NULL || !prepare(&r, representatives)) {
        r.error = 2;
    } else {
        reset_threads(&r);
        run_block(&r);
        double each = (double)r.spent / representatives;
        bool may = r.error == 0 || r.error == 218;
        out->whole = may && each * threads <= WHOLE_INSTRUCTIONS;
        for (uint32_t u = r.undo_count; u-- > 0 && (out->whole || r.error);)
            memcpy((void *)(uintptr_t)r.undo[u].address, &r.undo[u].value, r.undo[u].size);
        if (out->whole) {
            dispose(&r);
            free(r.written);
            r.written = NULL;
            r.logging = r.memorable = false;
            r.error = 0;
            r.spent = r.skipped = 0;
            memset(r.counts, 0, f->length * sizeof *r.counts);
            if (!prepare(&r, block_threads))
                r.error = 2;
            for (uint64_t b = 0; b < (uint64_t)blocks && !r.error; b++) {
                r.ctaid[0] = (uint32_t)(b % launch->grid[0]);
                r.ctaid[1] = (uint32_t)(b / launch->grid[0] % launch->grid[1]);
                r.ctaid[2] = (uint32_t)(b / launch->grid[0] / launch->grid[1]);
                reset_threads(&r);
                run_block(&r);
            }
        }
    }
    double scale = out->whole ? 1 : threads / representatives;
    for (uint32_t c = 0; r.counts != NULL && c < f->length; c++) {
        unsigned unit;
        double operations, slots, times = (double)r.counts[c] * scale;
        classify(&f->code[c], &unit, &operations, &slots);
        out->operations[unit] += times * operations;
        out->slots[unit] += times * slots;
        if (f->code[c].op != OP_MOV && f->code[c].op != OP_CVTA)
            out->instructions += times;
    }
    out->remembered = r.memorable && !r.error && !out->whole;
    dispose(&r);
    free(r.counts);
    free(r.shared);
    free(r.written);
    free(r.undo);
    return r.error;
}
