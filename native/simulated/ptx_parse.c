/* Reading PTX: text to instructions. */
#define _GNU_SOURCE
#include "ptx.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INVALID 218
#define MOST_VERSION 90 /* PTX 9.0, with the driver for CUDA 13.0 */

struct name { char text[PTX_NAME]; int32_t reg; uint32_t type; int depth; };
struct label { char text[PTX_NAME]; int32_t at; };

struct reader {
    const char *p;
    int line, depth, error;
    char *log;
    size_t log_size;
    struct ptx_module *module;
    struct ptx_function *f;
    struct name *names;
    size_t name_count, name_room;
    struct label *labels, *wanted;
    size_t label_count, label_room, wanted_count, wanted_room;
    size_t code_room;
    struct ptx_symbol *locals; /* .shared and .local of this function */
    size_t local_count, local_room;
};

static int refuse(struct reader *r, const char *format, ...)
{
    if (r->error == 0) {
        r->error = INVALID;
        if (r->log_size > 0) {
            int n = snprintf(r->log, r->log_size, "line %d: ", r->line);
            va_list arguments;
            va_start(arguments, format);
            if (n > 0 && (size_t)n < r->log_size)
                vsnprintf(r->log + n, r->log_size - (size_t)n, format, arguments);
            va_end(arguments);
        }
    }
    return INVALID;
}

static void *grown(struct reader *r, void *array, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return array;
    size_t more = *room ? 2 * *room : 32;
    void *bigger = realloc(array, more * size);
    if (bigger == NULL) {
        refuse(r, "out of memory");
        r->error = 2;
        return array;
    }
    memset((char *)bigger + *room * size, 0, (more - *room) * size);
    *room = more;
    return bigger;
}

static void space(struct reader *r)
{
    for (;;) {
        if (*r->p == '\n')
            r->line++;
        if (isspace((unsigned char)*r->p)) {
            r->p++;
        } else if (r->p[0] == '/' && r->p[1] == '/') {
            while (*r->p && *r->p != '\n')
                r->p++;
        } else if (r->p[0] == '/' && r->p[1] == '*') {
            const char *end = strstr(r->p + 2, "*/");
            for (; *r->p && r->p != end; r->p++)
                r->line += *r->p == '\n';
            if (end != NULL)
                r->p += 2;
        } else {
            return;
        }
    }
}

static bool letter(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$' || c == '%' || c == '.' || c == ':';
}

/* The next word: identifier with dots, or one character of punctuation. A colon ends a word unless it is doubled. */
static bool word(struct reader *r, char *out)
{
    space(r);
    size_t n = 0;
    while (letter(*r->p) && n < PTX_NAME - 1) {
        if (*r->p == ':') {
            if (r->p[1] != ':')
                break;
            out[n++] = *r->p++;
        }
        out[n++] = *r->p++;
    }
    if (n == 0 && *r->p != 0)
        out[n++] = *r->p++;
    out[n] = 0;
    return n > 0;
}

static bool peek(struct reader *r, const char *what)
{
    space(r);
    return strncmp(r->p, what, strlen(what)) == 0;
}

static bool accept(struct reader *r, const char *what)
{
    if (!peek(r, what))
        return false;
    r->p += strlen(what);
    return true;
}

static void expect(struct reader *r, const char *what)
{
    if (!accept(r, what))
        refuse(r, "%s expected", what);
}

static void skip_to(struct reader *r, char end)
{
    while (*r->p && *r->p != end)
        r->line += *r->p++ == '\n';
    if (*r->p)
        r->p++;
}

static const struct { const char *name; uint8_t type, size; } TYPES[] = {
    { "b8", T_B8, 1 }, { "b16", T_B16, 2 }, { "b32", T_B32, 4 }, { "b64", T_B64, 8 }, { "u8", T_U8, 1 }, { "u16", T_U16, 2 },
    { "u32", T_U32, 4 }, { "u64", T_U64, 8 }, { "s8", T_S8, 1 }, { "s16", T_S16, 2 }, { "s32", T_S32, 4 }, { "s64", T_S64, 8 },
    { "f16", T_F16, 2 }, { "f16x2", T_F16X2, 4 }, { "bf16", T_BF16, 2 }, { "bf16x2", T_BF16X2, 4 }, { "tf32", T_TF32, 4 },
    { "e4m3", T_E4M3, 1 }, { "e5m2", T_E5M2, 1 }, { "f32", T_F32, 4 }, { "f64", T_F64, 8 }, { "pred", T_PRED, 1 },
};

static unsigned type_named(const char *name, unsigned *size)
{
    for (unsigned i = 0; i < sizeof TYPES / sizeof TYPES[0]; i++)
        if (strcmp(TYPES[i].name, name) == 0) {
            if (size != NULL)
                *size = TYPES[i].size;
            return TYPES[i].type;
        }
    return T_NONE;
}

static const char *const OPS[] = {
    [OP_MOV] = "mov", [OP_LD] = "ld", [OP_ST] = "st", [OP_CVTA] = "cvta", [OP_CVT] = "cvt", [OP_ADD] = "add", [OP_SUB] = "sub",
    [OP_MUL] = "mul", [OP_MAD] = "mad", [OP_FMA] = "fma", [OP_DIV] = "div", [OP_REM] = "rem", [OP_MIN] = "min",
    [OP_MAX] = "max", [OP_ABS] = "abs", [OP_NEG] = "neg", [OP_AND] = "and", [OP_OR] = "or", [OP_XOR] = "xor", [OP_NOT] = "not",
    [OP_CNOT] = "cnot", [OP_SHL] = "shl", [OP_SHR] = "shr", [OP_SHF] = "shf", [OP_SETP] = "setp", [OP_SET] = "set",
    [OP_SELP] = "selp", [OP_SLCT] = "slct", [OP_BRA] = "bra", [OP_RET] = "ret", [OP_EXIT] = "exit", [OP_BAR] = "bar",
    [OP_MEMBAR] = "membar", [OP_SQRT] = "sqrt", [OP_RCP] = "rcp", [OP_RSQRT] = "rsqrt", [OP_SIN] = "sin", [OP_COS] = "cos",
    [OP_EX2] = "ex2", [OP_LG2] = "lg2", [OP_TANH] = "tanh", [OP_POPC] = "popc", [OP_CLZ] = "clz", [OP_BREV] = "brev",
    [OP_BFE] = "bfe", [OP_BFI] = "bfi", [OP_PRMT] = "prmt", [OP_LOP3] = "lop3", [OP_TRAP] = "trap",
    [OP_COPYSIGN] = "copysign", [OP_TESTP] = "testp", [OP_NANOSLEEP] = "nanosleep", [OP_MMA] = "mma",
    [OP_SHFL] = "shfl", [OP_VOTE] = "vote", [OP_ATOM] = "atom", [OP_RED] = "red",
};

static const char *const COMPARES[] = { "", "eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu",
                                        "leu", "gtu", "geu", "num", "nan" };

static int named(const char *const *list, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++)
        if (list[i] != NULL && strcmp(list[i], text) == 0)
            return (int)i;
    return -1;
}

static struct name *find_name(struct reader *r, const char *text)
{
    for (size_t i = r->name_count; i-- > 0;)
        if (strcmp(r->names[i].text, text) == 0)
            return &r->names[i];
    return NULL;
}

static void add_register(struct reader *r, const char *text, unsigned type)
{
    r->names = grown(r, r->names, r->name_count, &r->name_room, sizeof *r->names);
    if (r->error)
        return;
    struct name *n = &r->names[r->name_count++];
    memset(n, 0, sizeof *n);
    snprintf(n->text, sizeof n->text, "%s", text);
    n->reg = (int32_t)r->f->registers++;
    n->type = type;
    n->depth = r->depth;
}

/* .reg .b32 %r<10>, %a; */
static void registers(struct reader *r)
{
    char text[PTX_NAME], numbered[PTX_NAME + 16];
    word(r, text);
    unsigned type = text[0] == '.' ? type_named(text + 1, NULL) : T_NONE;
    if (type == T_NONE) {
        refuse(r, "registers of type %s", text);
        return;
    }
    do {
        word(r, text);
        if (accept(r, "<")) {
            unsigned long count = strtoul(r->p, (char **)&r->p, 10);
            expect(r, ">");
            if (count > 100000)
                refuse(r, "%lu registers", count);
            for (unsigned long i = 0; i < count && !r->error; i++) {
                snprintf(numbered, sizeof numbered, "%.*s%lu", PTX_NAME - 24, text, i);
                numbered[PTX_NAME - 1] = 0;
                add_register(r, numbered, type);
            }
        } else {
            add_register(r, text, type);
        }
    } while (!r->error && accept(r, ","));
    expect(r, ";");
}

static uint64_t number(struct reader *r, const char *text, bool *is_double, bool *is_single)
{
    *is_double = *is_single = false;
    bool minus = *text == '-';
    const char *digits = text + minus;
    if (digits[0] == '0' && (digits[1] == 'f' || digits[1] == 'F') && strlen(digits) == 10) {
        *is_single = true;
        uint32_t bits = (uint32_t)strtoul(digits + 2, NULL, 16);
        return minus ? bits ^ 0x80000000u : bits;
    }
    if (digits[0] == '0' && (digits[1] == 'd' || digits[1] == 'D') && strlen(digits) == 18) {
        *is_double = true;
        uint64_t bits = strtoull(digits + 2, NULL, 16);
        return minus ? bits ^ (1ULL << 63) : bits;
    }
    char *end;
    bool hexadecimal = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
    if (!hexadecimal && strchr(digits, '.') != NULL) {
        double value = strtod(text, &end);
        uint64_t bits;
        memcpy(&bits, &value, 8);
        *is_double = true;
        if (*end != 0)
            refuse(r, "number %s", text);
        return bits;
    }
    bool binary = digits[0] == '0' && (digits[1] == 'b' || digits[1] == 'B');
    uint64_t value = strtoull(binary ? digits + 2 : digits, &end, binary ? 2 : 0);
    if (*end == 'U')
        end++;
    if (*end != 0)
        refuse(r, "number %s", text);
    return minus ? 0 - value : value;
}

static int special_named(const char *text)
{
    static const char *const triples[] = { "%tid", "%ntid", "%ctaid", "%nctaid" };
    static const char *const single[] = { "%laneid", "%warpid", "%nwarpid", "%smid", "%nsmid", "%clock", "%clock64", "%globaltimer",
                                          "%lanemask_eq", "%lanemask_lt", "%lanemask_le", "%lanemask_gt", "%lanemask_ge" };
    for (int i = 0; i < 4; i++) {
        size_t n = strlen(triples[i]);
        if (strncmp(text, triples[i], n) == 0 && text[n] == '.' && text[n + 1] >= 'x' && text[n + 1] <= 'z' && text[n + 2] == 0)
            return 3 * i + text[n + 1] - 'x';
    }
    int found = named(single, sizeof single / sizeof single[0], text);
    return found < 0 ? -1 : SPECIAL_LANE + found;
}

static const struct ptx_symbol *symbol(struct reader *r, const char *text)
{
    for (size_t i = 0; i < r->local_count; i++)
        if (strcmp(r->locals[i].name, text) == 0)
            return &r->locals[i];
    for (uint32_t i = 0; i < r->module->symbol_count; i++)
        if (strcmp(r->module->symbols[i].name, text) == 0)
            return &r->module->symbols[i];
    return NULL;
}

static bool place(struct reader *r, const char *text, struct ptx_operand *o)
{
    const struct ptx_symbol *s = symbol(r, text);
    if (s != NULL) {
        o->reg = -1;
        o->space = s->space;
        o->value = s->address;
        return true;
    }
    for (uint32_t i = 0; i < r->f->parameter_count; i++)
        if (strcmp(r->f->parameters[i].name, text) == 0) {
            o->reg = -1;
            o->space = SPACE_PARAM;
            o->value = r->f->parameters[i].offset;
            return true;
        }
    return false;
}

static struct ptx_operand *next_operand(struct reader *r, struct ptx_instruction *i)
{
    if (i->count >= PTX_OPERANDS) {
        refuse(r, "too many operands");
        return &i->operand[PTX_OPERANDS - 1];
    }
    struct ptx_operand *o = &i->operand[i->count++];
    memset(o, 0, sizeof *o);
    o->reg = -1;
    return o;
}

static void simple(struct reader *r, struct ptx_instruction *i)
{
    char text[PTX_NAME];
    struct ptx_operand *o = next_operand(r, i);
    if (r->error)
        return;
    if (accept(r, "!"))
        o->negated = 1;
    bool minus = accept(r, "-");
    word(r, text);
    if (minus) {
        memmove(text + 1, text, strlen(text) < PTX_NAME - 1 ? strlen(text) + 1 : PTX_NAME - 1);
        text[PTX_NAME - 1] = 0;
        text[0] = '-';
    }
    if (strcmp(text, "_") == 0) {
        o->kind = OPERAND_SINK;
        return;
    }
    if (isdigit((unsigned char)text[minus ? 1 : 0])) {
        bool is_double, is_single;
        uint64_t value = number(r, text, &is_double, &is_single);
        o->kind = OPERAND_VALUE;
        if (is_double && i->type != T_F64 && i->source_type != T_F64) { /* a decimal fraction for f32 */
            double d;
            memcpy(&d, &value, 8);
            value = ptx_encode(T_F32, d);
        } else if (is_single && i->type == T_F64 && i->op != OP_CVT) {
            value = ptx_encode(T_F64, ptx_decode(T_F32, value));
        }
        o->value = value;
        return;
    }
    struct name *n = find_name(r, text);
    int special = special_named(text);
    if (n != NULL) {
        o->kind = OPERAND_REGISTER;
        o->reg = n->reg;
    } else if (special >= 0) {
        o->kind = OPERAND_SPECIAL;
        o->reg = special;
    } else if (strcmp(text, "WARP_SZ") == 0) {
        o->kind = OPERAND_VALUE;
        o->value = 32;
    } else if (place(r, text, o)) {
        o->kind = OPERAND_ADDRESS;
        if (accept(r, "+")) {
            word(r, text);
            bool ignored, also;
            o->value += number(r, text, &ignored, &also);
        }
    } else {
        refuse(r, "unknown name %s", text);
    }
}

/* [%rd1+16], [name+8], [name] */
static void address(struct reader *r, struct ptx_instruction *i)
{
    char text[PTX_NAME];
    struct ptx_operand *o = next_operand(r, i);
    if (r->error)
        return;
    o->kind = OPERAND_ADDRESS;
    word(r, text);
    struct name *n = find_name(r, text);
    bool ignored, also;
    if (n != NULL)
        o->reg = n->reg;
    else if (isdigit((unsigned char)text[0]))
        o->value = number(r, text, &ignored, &also);
    else if (!place(r, text, o))
        refuse(r, "unknown name %s", text);
    bool plus = accept(r, "+"), minus = accept(r, "-");
    if (plus || minus) {
        char digits[PTX_NAME + 2] = "-";
        word(r, text);
        snprintf(digits, sizeof digits, "%s%s", minus ? "-" : "", text);
        o->value += number(r, digits, &ignored, &also);
    }
    expect(r, "]");
}

static void operands(struct reader *r, struct ptx_instruction *i)
{
    while (!r->error && !accept(r, ";")) {
        if (i->groups >= 6) {
            refuse(r, "too many operands");
            return;
        }
        unsigned group = i->groups++;
        i->group_start[group] = i->count;
        if (accept(r, "{")) {
            do
                simple(r, i);
            while (!r->error && accept(r, ","));
            expect(r, "}");
        } else if (accept(r, "[")) {
            address(r, i);
        } else {
            simple(r, i);
            if (accept(r, "|"))
                simple(r, i);
        }
        i->group_size[group] = (uint8_t)(i->count - i->group_start[group]);
        if (!accept(r, ",") && !peek(r, ";"))
            refuse(r, "; expected");
    }
}

static void modifier(struct reader *r, struct ptx_instruction *i, const char *m, unsigned *types)
{
    static const char *const spaces[] = { "", "global", "shared", "local", "param", "const" };
    static const char *const roundings[] = { "", "rn", "rz", "rm", "rp", "rni", "rzi", "rmi", "rpi", "rna" };
    static const char *const ignored[] = {
        "volatile", "relaxed", "weak", "gpu", "cta", "sys", "acquire", "release", "acq_rel", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "nc",
        "sync", "aligned", "full", "to", "lo", "L1::no_allocate", "L1::evict_last", "L1::evict_first", "L2::128B", "L2::256B",
        "L2::64B", "entry", "gl", "row", "col", "arrive", "b1"
    };
    unsigned type = type_named(m, NULL);
    int found;
    bool lo_compare = strcmp(m, "lo") == 0 && (i->op == OP_SETP || i->op == OP_SET);
    if ((i->op == OP_SETP || i->op == OP_SET) && (found = named(COMPARES, sizeof COMPARES / sizeof COMPARES[0], m)) > 0)
        i->compare = (uint8_t)found;
    else if (type != T_NONE) {
        if (*types == 0)
            i->type = (uint16_t)type;
        else if (*types == 1)
            i->source_type = (uint16_t)type;
        else if (*types == 2)
            i->third_type = (uint16_t)type;
        ++*types;
    } else if ((found = named(spaces, 6, m)) > 0 || (found = strcmp(m, "shared::cta") == 0 ? SPACE_SHARED : -1) > 0)
        i->space = (uint8_t)found;
    else if ((found = named(roundings, 10, m)) > 0)
        i->rounding = (uint8_t)found;
    else if (strcmp(m, "v2") == 0 || strcmp(m, "v4") == 0)
        i->vector = (uint8_t)(m[1] - '0');
    else if (strcmp(m, "sat") == 0 || strcmp(m, "satfinite") == 0)
        i->saturate = 1;
    else if (strcmp(m, "ftz") == 0)
        i->flush = 1;
    else if (strcmp(m, "wide") == 0)
        i->wide = 1;
    else if (strcmp(m, "hi") == 0)
        i->high = 1;
    else if (strcmp(m, "approx") == 0)
        i->approximate = 1;
    else if (strcmp(m, "uni") == 0)
        i->uniform = 1;
    else if ((i->op == OP_SETP || i->op == OP_SET) && (strcmp(m, "and") == 0 || strcmp(m, "or") == 0 || strcmp(m, "xor") == 0))
        i->combine = (uint8_t)(m[0] == 'a' ? 1 : m[0] == 'o' ? 2 : 3);
    else if ((i->op == OP_ATOM || i->op == OP_RED) && (found = named((const char *const[]){ "", "add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec" }, 11, m)) > 0)
        i->combine = (uint8_t)found;
    else if (i->op == OP_SHFL && (found = named((const char *const[]){ "", "up", "down", "bfly", "idx" }, 5, m)) > 0)
        i->combine = (uint8_t)found;
    else if (i->op == OP_VOTE && (found = named((const char *const[]){ "", "all", "any", "uni", "ballot" }, 5, m)) > 0)
        i->combine = (uint8_t)found;
    else if (i->op == OP_SHF && (strcmp(m, "l") == 0 || strcmp(m, "r") == 0))
        i->high = m[0] == 'r';
    else if (i->op == OP_SHF && (strcmp(m, "clamp") == 0 || strcmp(m, "wrap") == 0))
        i->wide = m[0] == 'w';
    else if (i->op == OP_TESTP && (found = named((const char *const[]){ "", "finite", "infinite", "number", "notanumber", "normal", "subnormal" }, 7, m)) > 0)
        i->combine = (uint8_t)found;
    else if (i->op == OP_MMA && sscanf(m, "m%hun%huk%hu", &i->shape_m, &i->shape_n, &i->shape_k) == 3)
        ;
    else if (lo_compare || named(ignored, sizeof ignored / sizeof ignored[0], m) >= 0)
        ;
    else
        refuse(r, "modifier .%s is not interpreted", m);
}

static bool floating(unsigned type)
{
    return type >= T_F16 && type <= T_F64;
}

static void check(struct reader *r, struct ptx_instruction *i)
{
    static const struct { uint16_t op; uint8_t least, most; } counts[] = {
        { OP_MOV, 2, 2 }, { OP_LD, 2, 2 }, { OP_ST, 2, 2 }, { OP_CVTA, 2, 2 }, { OP_CVT, 2, 3 }, { OP_ADD, 3, 3 }, { OP_SUB, 3, 3 },
        { OP_MUL, 3, 3 }, { OP_MAD, 4, 4 }, { OP_FMA, 4, 4 }, { OP_DIV, 3, 3 }, { OP_REM, 3, 3 }, { OP_MIN, 3, 3 },
        { OP_MAX, 3, 3 }, { OP_ABS, 2, 2 }, { OP_NEG, 2, 2 }, { OP_AND, 3, 3 }, { OP_OR, 3, 3 }, { OP_XOR, 3, 3 },
        { OP_NOT, 2, 2 }, { OP_CNOT, 2, 2 }, { OP_SHL, 3, 3 }, { OP_SHR, 3, 3 }, { OP_SHF, 4, 4 }, { OP_SETP, 3, 4 },
        { OP_SET, 3, 4 }, { OP_SELP, 4, 4 }, { OP_SLCT, 4, 4 }, { OP_SQRT, 2, 2 }, { OP_RCP, 2, 2 }, { OP_RSQRT, 2, 2 },
        { OP_SIN, 2, 2 }, { OP_COS, 2, 2 }, { OP_EX2, 2, 2 }, { OP_LG2, 2, 2 }, { OP_TANH, 2, 2 }, { OP_POPC, 2, 2 },
        { OP_CLZ, 2, 2 }, { OP_BREV, 2, 2 }, { OP_BFE, 4, 4 }, { OP_BFI, 5, 5 }, { OP_PRMT, 4, 4 }, { OP_LOP3, 5, 5 },
        { OP_COPYSIGN, 3, 3 }, { OP_TESTP, 2, 2 }, { OP_MMA, 4, 4 }, { OP_SHFL, 4, 5 }, { OP_VOTE, 2, 3 }, { OP_ATOM, 3, 4 },
        { OP_RED, 2, 2 },
    };
    for (unsigned c = 0; c < sizeof counts / sizeof counts[0]; c++)
        if (counts[c].op == i->op && (i->groups < counts[c].least || i->groups > counts[c].most))
            refuse(r, "%s with %d operands", OPS[i->op], i->groups);
    bool exact = i->op == OP_ADD || i->op == OP_SUB || i->op == OP_MUL || i->op == OP_FMA || i->op == OP_MAD || i->op == OP_DIV || i->op == OP_SQRT || i->op == OP_RCP;
    if (exact && floating(i->type) && i->rounding > 1)
        refuse(r, "%s with directed rounding is not interpreted", OPS[i->op]);
    if (i->op == OP_CVT && floating(i->type) && !floating(i->source_type) && i->rounding > 1)
        refuse(r, "cvt with directed rounding is not interpreted");
    if (i->op == OP_CVT && floating(i->type) && floating(i->source_type) && (i->rounding == 3 || i->rounding == 4 || (i->rounding == 2 && i->type != T_F32 && i->type != T_F64)))
        refuse(r, "cvt with directed rounding is not interpreted");
    bool bitwise_type = i->type == T_TF32 || i->type == T_E4M3 || i->type == T_E5M2;
    if (bitwise_type && i->op != OP_CVT && i->op != OP_MMA)
        refuse(r, "arithmetic in this type is not interpreted");
    if ((i->type == T_E4M3 || i->type == T_E5M2) && i->op == OP_CVT)
        refuse(r, "cvt to 8-bit formats is not interpreted");
    if (i->op == OP_MMA) {
        static const struct { uint16_t m, n, k, a; uint8_t regs_a, regs_b; } shapes[] = {
            { 16, 8, 16, T_F16, 4, 2 }, { 16, 8, 8, T_F16, 2, 1 }, { 16, 8, 16, T_BF16, 4, 2 }, { 16, 8, 8, T_BF16, 2, 1 },
            { 16, 8, 8, T_TF32, 4, 2 }, { 16, 8, 4, T_TF32, 2, 1 }, { 8, 8, 4, T_F64, 1, 1 }, { 16, 8, 4, T_F64, 2, 1 },
            { 16, 8, 8, T_F64, 4, 2 }, { 16, 8, 16, T_F64, 8, 4 }, { 16, 8, 32, T_S8, 4, 2 }, { 16, 8, 16, T_S8, 2, 1 },
            { 16, 8, 32, T_U8, 4, 2 }, { 16, 8, 16, T_U8, 2, 1 }, { 16, 8, 32, T_E4M3, 4, 2 }, { 16, 8, 32, T_E5M2, 4, 2 },
        };
        bool known = false;
        for (unsigned s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
            known |= shapes[s].m == i->shape_m && shapes[s].n == i->shape_n && shapes[s].k == i->shape_k && shapes[s].a == i->source_type &&
                     i->third_type == i->source_type && i->group_size[1] == shapes[s].regs_a && i->group_size[2] == shapes[s].regs_b;
        bool half = i->type == T_F16 && i->source_type == T_F16;
        unsigned accumulators = half ? 2 : i->shape_m == 8 ? 2 : 4;
        known = known && i->group_size[0] == accumulators && i->group_size[3] == accumulators;
        known = known && (half || i->type == (i->source_type == T_F64 ? T_F64 : i->source_type == T_S8 || i->source_type == T_U8 ? T_S32 : T_F32));
        for (unsigned o = 0; o < i->count; o++)
            known = known && i->operand[o].kind == (o < i->group_start[1] || i->operand[o].kind != OPERAND_VALUE ? OPERAND_REGISTER : OPERAND_VALUE);
        if (!known)
            refuse(r, "this shape of mma is not interpreted");
        r->f->collective = true;
    }
    if (i->op == OP_SHFL || i->op == OP_VOTE)
        r->f->collective = true;
    bool writes = i->op != OP_ST && i->op != OP_BRA && i->op != OP_RET && i->op != OP_EXIT && i->op != OP_BAR && i->op != OP_MEMBAR &&
                  i->op != OP_TRAP && i->op != OP_NANOSLEEP && i->op != OP_WARPSYNC && i->op != OP_RED;
    for (unsigned o = 0; writes && !r->error && i->groups > 0 && o < i->group_size[0]; o++)
        if (i->operand[o].kind != OPERAND_REGISTER && i->operand[o].kind != OPERAND_SINK)
            refuse(r, "%s writes to what is no register", OPS[i->op]);
    unsigned expected = i->vector ? i->vector : 1;
    if ((i->op == OP_LD && i->group_size[0] != expected) || (i->op == OP_ST && i->group_size[1] != expected))
        refuse(r, "vector of another length");
}

static void instruction(struct reader *r, char *first)
{
    r->f->code = grown(r, r->f->code, r->f->length, &r->code_room, sizeof *r->f->code);
    if (r->error)
        return;
    struct ptx_instruction *i = &r->f->code[r->f->length];
    memset(i, 0, sizeof *i);
    i->guard = -1;
    i->target = -1;
    i->line = r->line;
    char text[PTX_NAME];
    snprintf(text, sizeof text, "%s", first);
    if (strcmp(text, "@") == 0) {
        i->guard_negated = accept(r, "!");
        word(r, text);
        struct name *n = find_name(r, text);
        if (n == NULL || n->type != T_PRED) {
            refuse(r, "unknown predicate %s", text);
            return;
        }
        i->guard = n->reg;
        word(r, text);
    }
    char *rest = strchr(text, '.');
    char whole[PTX_NAME];
    memcpy(whole, text, sizeof whole);
    if (rest != NULL)
        *rest++ = 0;
    int op = named(OPS, sizeof OPS / sizeof OPS[0], text);
    bool warp_barrier = strcmp(text, "bar") == 0 && rest != NULL && strncmp(rest, "warp", 4) == 0;
    if (strcmp(text, "barrier") == 0)
        op = OP_BAR;
    if (strcmp(text, "fence") == 0)
        op = OP_MEMBAR;
    if (op <= 0) {
        refuse(r, "instruction %s is not interpreted", whole);
        return;
    }
    i->op = (uint16_t)(warp_barrier ? OP_WARPSYNC : op);
    r->f->length++;
    if (i->op == OP_BAR || i->op == OP_WARPSYNC || i->op == OP_MEMBAR || i->op == OP_NANOSLEEP) {
        if (i->op == OP_BAR && rest != NULL && strcmp(rest, "sync") != 0 && strcmp(rest, "sync.aligned") != 0 && strcmp(rest, "cta.sync") != 0 && strcmp(rest, "cta.sync.aligned") != 0)
            refuse(r, "%s is not interpreted", whole);
        skip_to(r, ';');
        if (i->op == OP_WARPSYNC)
            r->f->collective = true;
        return;
    }
    unsigned types = 0;
    while (rest != NULL && !r->error) {
        char *next = strchr(rest, '.');
        if (next != NULL)
            *next++ = 0;
        modifier(r, i, rest, &types);
        rest = next;
    }
    if (i->op == OP_MMA) { /* .dtype.atype.btype.ctype: the last is the first again */
        if (types != 4)
            refuse(r, "mma without its four types");
    } else if (types == 1) {
        i->source_type = i->type;
    }
    if (i->op == OP_BRA) {
        word(r, text);
        r->wanted = grown(r, r->wanted, r->wanted_count, &r->wanted_room, sizeof *r->wanted);
        if (r->error)
            return;
        snprintf(r->wanted[r->wanted_count].text, PTX_NAME, "%s", text);
        r->wanted[r->wanted_count++].at = (int32_t)r->f->length - 1;
        expect(r, ";");
        return;
    }
    operands(r, i);
    if (!r->error)
        check(r, i);
}

/* .shared .align 4 .b8 name[1024]; and .local, .global, .const, with initializers for the last two */
static void variable(struct reader *r, unsigned where)
{
    char text[PTX_NAME];
    unsigned size = 4, align = 1, times = 1, type = T_NONE;
    for (word(r, text); text[0] == '.'; word(r, text)) {
        if (strcmp(text, ".align") == 0)
            align = (unsigned)strtoul((space(r), r->p), (char **)&r->p, 10);
        else if (strcmp(text, ".v2") == 0 || strcmp(text, ".v4") == 0)
            times = (unsigned)(text[2] - '0');
        else if ((type = type_named(text + 1, &size)) == T_NONE) {
            refuse(r, "%s is not interpreted", text);
            return;
        }
    }
    if (align < size)
        align = size;
    uint64_t elements = 1;
    bool open = false;
    while (accept(r, "[")) {
        space(r);
        open |= *r->p == ']';
        uint64_t n = strtoull(r->p, (char **)&r->p, 0);
        elements *= open ? 0 : n;
        expect(r, "]");
    }
    uint64_t bytes = elements * size * times;
    if (align == 0 || align > 4096 || bytes > (1u << 30)) {
        refuse(r, "variable %s", text);
        return;
    }
    struct ptx_symbol made = { .space = (uint8_t)where, .size = (uint32_t)bytes };
    snprintf(made.name, sizeof made.name, "%s", text);
    if (where == SPACE_SHARED || where == SPACE_LOCAL) {
        if (r->f == NULL) { /* extern .shared of the module: the dynamic part; every function has it at its end */
            made.address = UINT64_MAX;
            made.size = 0;
            if (!open && where == SPACE_SHARED)
                refuse(r, "shared variables of a module are not interpreted");
        } else {
            uint32_t *used = where == SPACE_SHARED ? &r->f->shared_bytes : &r->f->local_bytes;
            made.address = (*used + align - 1) / align * align;
            *used = (uint32_t)(made.address + bytes);
            r->locals = grown(r, r->locals, r->local_count, &r->local_room, sizeof *r->locals);
            if (!r->error)
                r->locals[r->local_count++] = made;
        }
        if (r->f != NULL) {
            expect(r, ";");
            return;
        }
    } else {
        made.space = SPACE_GLOBAL;
        size_t at = (r->module->global_bytes + align - 1) / align * align;
        uint8_t *bigger = realloc(r->module->globals, at + bytes + 8);
        if (bigger == NULL) {
            refuse(r, "out of memory");
            return;
        }
        memset(bigger + r->module->global_bytes, 0, at + bytes + 8 - r->module->global_bytes);
        r->module->globals = bigger;
        made.address = at; /* becomes an address when everything has been read */
        r->module->global_bytes = at + bytes;
        if (accept(r, "=")) {
            bool braces = accept(r, "{"), is_double, is_single;
            for (uint64_t e = 0; !r->error; e++) {
                word(r, text);
                uint64_t value = number(r, text, &is_double, &is_single);
                if (e < elements * times)
                    memcpy(bigger + at + e * size, &value, size);
                if (!braces || !accept(r, ","))
                    break;
            }
            if (braces)
                expect(r, "}");
        }
    }
    struct ptx_symbol *more = realloc(r->module->symbols, (r->module->symbol_count + 1) * sizeof *more);
    if (more == NULL) {
        refuse(r, "out of memory");
        return;
    }
    r->module->symbols = more;
    more[r->module->symbol_count++] = made;
    expect(r, ";");
}

static unsigned space_named(const char *text)
{
    return strcmp(text, ".shared") == 0 ? SPACE_SHARED : strcmp(text, ".local") == 0 ? SPACE_LOCAL
         : strcmp(text, ".global") == 0 ? SPACE_GLOBAL : strcmp(text, ".const") == 0 ? SPACE_CONST : 0;
}

static void body(struct reader *r)
{
    char text[PTX_NAME];
    expect(r, "{");
    r->depth = 1;
    while (!r->error && r->depth > 0) {
        if (!word(r, text)) {
            refuse(r, "function without an end");
            return;
        }
        if (strcmp(text, "{") == 0) {
            r->depth++;
        } else if (strcmp(text, "}") == 0) {
            while (r->name_count > 0 && r->names[r->name_count - 1].depth == r->depth)
                r->name_count--;
            r->depth--;
        } else if (strcmp(text, ".reg") == 0) {
            registers(r);
        } else if (space_named(text)) {
            variable(r, space_named(text));
        } else if (strcmp(text, ".loc") == 0) {
            skip_to(r, '\n');
            r->line++;
        } else if (strcmp(text, ".pragma") == 0) {
            skip_to(r, ';');
        } else if (text[0] == '.') {
            refuse(r, "directive %s is not interpreted", text);
        } else if (peek(r, ":") && text[0] != '@') {
            accept(r, ":");
            r->labels = grown(r, r->labels, r->label_count, &r->label_room, sizeof *r->labels);
            if (r->error)
                return;
            snprintf(r->labels[r->label_count].text, PTX_NAME, "%s", text);
            r->labels[r->label_count++].at = (int32_t)r->f->length;
        } else {
            instruction(r, text);
        }
    }
    for (size_t w = 0; w < r->wanted_count && !r->error; w++) {
        struct ptx_instruction *i = &r->f->code[r->wanted[w].at];
        for (size_t l = 0; l < r->label_count; l++)
            if (strcmp(r->labels[l].text, r->wanted[w].text) == 0) {
                if (i->target >= 0)
                    refuse(r, "two labels %s", r->labels[l].text);
                i->target = r->labels[l].at;
            }
        if (i->target < 0)
            refuse(r, "no label %s", r->wanted[w].text);
    }
    for (uint32_t c = 0; c < r->f->length; c++) /* the dynamic part of shared memory begins behind the static one */
        for (unsigned o = 0; o < r->f->code[c].count; o++) {
            struct ptx_operand *operand = &r->f->code[c].operand[o];
            if (operand->kind == OPERAND_ADDRESS && operand->space == SPACE_SHARED && operand->reg < 0 && operand->value > UINT64_MAX / 2)
                operand->value += 1 + (uint64_t)((r->f->shared_bytes + 15) / 16 * 16);
        }
}

static void parameters(struct reader *r)
{
    char text[PTX_NAME];
    if (!accept(r, "("))
        return;
    while (!r->error && !accept(r, ")")) {
        unsigned size = 4, align = 0, times = 1;
        word(r, text);
        if (strcmp(text, ".param") != 0) {
            refuse(r, "parameter expected");
            return;
        }
        for (word(r, text); text[0] == '.'; word(r, text)) {
            if (strcmp(text, ".align") == 0)
                align = (unsigned)strtoul((space(r), r->p), (char **)&r->p, 10);
            else if (strcmp(text, ".v2") == 0 || strcmp(text, ".v4") == 0)
                times = (unsigned)(text[2] - '0');
            else if (strcmp(text, ".ptr") != 0 && !space_named(text) && type_named(text + 1, &size) == T_NONE)
                refuse(r, "parameter of type %s", text);
        }
        uint64_t elements = 1;
        if (accept(r, "[")) {
            space(r);
            elements = strtoull(r->p, (char **)&r->p, 0);
            expect(r, "]");
        }
        if (align < size)
            align = size;
        if (elements > 4096 || align > 128) {
            refuse(r, "parameter %s", text);
            return;
        }
        struct ptx_parameter *more = realloc(r->f->parameters, (r->f->parameter_count + 1) * sizeof *more);
        if (more == NULL) {
            refuse(r, "out of memory");
            return;
        }
        r->f->parameters = more;
        struct ptx_parameter *p = &more[r->f->parameter_count++];
        memset(p, 0, sizeof *p);
        snprintf(p->name, sizeof p->name, "%s", text);
        p->size = (uint32_t)(elements * size * times);
        p->offset = (r->f->parameter_bytes + align - 1) / align * align;
        r->f->parameter_bytes = p->offset + p->size;
        accept(r, ",");
    }
}

static void entry(struct reader *r)
{
    struct ptx_function *more = realloc(r->module->functions, (r->module->function_count + 1) * sizeof *more);
    if (more == NULL) {
        refuse(r, "out of memory");
        return;
    }
    r->module->functions = more;
    r->f = &more[r->module->function_count++];
    memset(r->f, 0, sizeof *r->f);
    r->name_count = r->label_count = r->wanted_count = r->local_count = 0;
    r->code_room = 0;
    r->f->max_threads = 1024;
    char text[PTX_NAME];
    word(r, text);
    snprintf(r->f->name, sizeof r->f->name, "%s", text);
    parameters(r);
    while (!r->error && !peek(r, "{")) {
        if (!word(r, text) || text[0] != '.') {
            refuse(r, "function body expected");
        } else if (strcmp(text, ".maxntid") == 0 || strcmp(text, ".reqntid") == 0) {
            uint32_t most = 1;
            do
                most *= (uint32_t)strtoul((space(r), r->p), (char **)&r->p, 10);
            while (accept(r, ","));
            r->f->max_threads = most > 0 && most < 1024 ? most : 1024;
        } else if (strcmp(text, ".minnctapersm") == 0 || strcmp(text, ".maxnreg") == 0 || strcmp(text, ".noreturn") == 0) {
            space(r);
            strtoul(r->p, (char **)&r->p, 10);
        } else {
            refuse(r, "directive %s is not interpreted", text);
        }
    }
    body(r);
    r->f = NULL;
}

static void skip_function(struct reader *r)
{
    while (*r->p && *r->p != '{' && *r->p != ';')
        r->line += *r->p++ == '\n';
    int depth = 0;
    do {
        depth += (*r->p == '{') - (*r->p == '}');
        r->line += *r->p == '\n';
        if (*r->p)
            r->p++;
    } while (*r->p && depth > 0);
}

int ptx_load(const char *text, unsigned major, unsigned minor, struct ptx_module *out, char *log, size_t log_size)
{
    struct reader r = { .p = text, .line = 1, .log = log, .log_size = log_size, .module = out };
    memset(out, 0, sizeof *out);
    char token[PTX_NAME];
    bool versioned = false, targeted = false;
    while (!r.error && word(&r, token)) {
        if (strcmp(token, ".version") == 0) {
            space(&r);
            unsigned a = (unsigned)strtoul(r.p, (char **)&r.p, 10), b = 0;
            if (*r.p == '.')
                b = (unsigned)strtoul(r.p + 1, (char **)&r.p, 10);
            versioned = true;
            if (10 * a + b > MOST_VERSION) {
                refuse(&r, "PTX version %u.%u is newer than this driver", a, b);
                r.error = 222;
            }
        } else if (strcmp(token, ".target") == 0) {
            word(&r, token);
            unsigned wanted = 0;
            char kind = 0;
            if (sscanf(token, "sm_%u%c", &wanted, &kind) < 1)
                refuse(&r, "target %s", token);
            else if (wanted > 10 * major + minor || (kind != 0 && wanted != 10 * major + minor)) {
                refuse(&r, "target %s is not this device, sm_%u%u", token, major, minor);
                r.error = 209;
            }
            targeted = true;
            skip_to(&r, '\n');
            r.line++;
        } else if (strcmp(token, ".address_size") == 0) {
            word(&r, token);
            if (strcmp(token, "64") != 0)
                refuse(&r, "addresses of %s bits", token);
        } else if (!versioned || !targeted) {
            refuse(&r, ".version and .target come first");
        } else if (strcmp(token, ".visible") == 0 || strcmp(token, ".extern") == 0 || strcmp(token, ".weak") == 0 || strcmp(token, ".common") == 0) {
            continue;
        } else if (strcmp(token, ".entry") == 0) {
            entry(&r);
        } else if (strcmp(token, ".func") == 0 || strcmp(token, ".section") == 0) {
            skip_function(&r); /* a call is refused where it stands */
        } else if (strcmp(token, ".file") == 0 || strcmp(token, ".loc") == 0) {
            skip_to(&r, '\n');
            r.line++;
        } else if (space_named(token)) {
            variable(&r, space_named(token));
        } else {
            refuse(&r, "%s is not interpreted", token);
        }
    }
    if (!r.error && (!versioned || !targeted))
        refuse(&r, "this is no PTX");
    for (uint32_t i = 0; i < out->symbol_count; i++)
        if (out->symbols[i].space == SPACE_GLOBAL)
            out->symbols[i].address += (uint64_t)(uintptr_t)out->globals;
    for (uint32_t f = 0; f < out->function_count; f++) /* offsets of module variables become addresses */
        for (uint32_t c = 0; c < out->functions[f].length; c++)
            for (unsigned o = 0; o < out->functions[f].code[c].count; o++) {
                struct ptx_operand *operand = &out->functions[f].code[c].operand[o];
                if (operand->kind == OPERAND_ADDRESS && operand->space == SPACE_GLOBAL && operand->reg < 0)
                    operand->value += (uint64_t)(uintptr_t)out->globals;
            }
    free(r.names);
    free(r.labels);
    free(r.wanted);
    free(r.locals);
    if (r.error)
        ptx_unload(out);
    return r.error;
}

void ptx_unload(struct ptx_module *module)
{
    for (uint32_t f = 0; f < module->function_count; f++) {
        free(module->functions[f].code);
        free(module->functions[f].parameters);
    }
    free(module->functions);
    free(module->globals);
    free(module->symbols);
    memset(module, 0, sizeof *module);
}
