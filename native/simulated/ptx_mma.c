/* Values of PTX types, and mma.sync on the fragments of a warp (PTX ISA, "Matrix Fragments for mma"). */
#include "numbers.h"
#include "ptx.h"

#include <math.h>
#include <string.h>

double ptx_decode(unsigned type, uint64_t bits)
{
    switch (type) {
    case T_F16: return number_decode(bits & 0xffff, 5, 10, false);
    case T_BF16: bits = (bits & 0xffff) << 16; /* fall through */
    case T_F32: {
        uint32_t half = (uint32_t)bits;
        float f;
        memcpy(&f, &half, 4);
        return f;
    }
    case T_TF32: {
        uint32_t half = (uint32_t)bits & 0xffffe000u;
        float f;
        memcpy(&f, &half, 4);
        return f;
    }
    case T_F64: {
        double d;
        memcpy(&d, &bits, 8);
        return d;
    }
    case T_E4M3: return number_decode(bits & 0xff, 4, 3, true);
    case T_E5M2: return number_decode(bits & 0xff, 5, 2, false);
    case T_S8: return (int8_t)bits;
    case T_U8: return (uint8_t)bits;
    default: return NAN;
    }
}

uint64_t ptx_encode(unsigned type, double value)
{
    uint64_t bits = 0;
    switch (type) {
    case T_F16: return number_encode(value, 5, 10);
    case T_BF16: return number_encode(value, 8, 7);
    case T_TF32: return (uint64_t)number_encode(value, 8, 10) << 13;
    case T_F32: {
        float f = (float)value;
        memcpy(&bits, &f, 4);
        return bits;
    }
    default: memcpy(&bits, &value, 8); return bits;
    }
}

static uint64_t bits_of(const struct ptx_operand *o, const uint64_t *registers)
{
    return o->kind == OPERAND_REGISTER ? registers[o->reg] : o->value;
}

/* Decoded operands are kept as long as their bits stay the same, which in a loop they mostly do. */
struct fragment { unsigned type, shape_m, shape_k; uint64_t bits[32][8], stamp; double matrix[16 * 32]; };

static void fill(struct fragment *f, const struct ptx_instruction *i, unsigned group, uint64_t *const lane[32])
{
    unsigned width = i->source_type == T_S8 || i->source_type == T_U8 || i->source_type == T_E4M3 || i->source_type == T_E5M2 ? 8
                   : i->source_type == T_F16 || i->source_type == T_BF16 ? 16 : 0;
    unsigned pack = width ? 32 / width : 1, count = i->group_size[group];
    static _Thread_local uint64_t stamps;
    bool same = f->stamp != 0 && f->type == i->source_type && f->shape_k == i->shape_k && f->shape_m == i->shape_m;
    for (unsigned l = 0; l < 32; l++)
        for (unsigned r = 0; r < count; r++) {
            uint64_t bits = bits_of(&i->operand[i->group_start[group] + r], lane[l]);
            same = same && f->bits[l][r] == bits;
            f->bits[l][r] = bits;
        }
    if (same)
        return;
    f->stamp = ++stamps;
    f->type = i->source_type;
    f->shape_k = i->shape_k;
    f->shape_m = i->shape_m;
    for (unsigned l = 0; l < 32; l++) {
        unsigned g = l >> 2, t = l & 3;
        for (unsigned r = 0; r < count; r++)
            for (unsigned e = 0; e < pack; e++) {
                double value = ptx_decode(i->source_type, width ? f->bits[l][r] >> (e * width) : f->bits[l][r]);
                unsigned row, k;
                if (group == 1) { /* A: rows by groups of lanes, two register rows where m is 16 */
                    unsigned tall = i->shape_m == 16;
                    row = g + 8 * (tall ? r & 1 : 0);
                    k = t * pack + (tall ? r >> 1 : r) * 4 * pack + e;
                    f->matrix[row * i->shape_k + k] = value;
                } else { /* B: k by n */
                    k = t * pack + r * 4 * pack + e;
                    f->matrix[k * 8 + g] = value;
                }
            }
    }
}

void ptx_mma(const struct ptx_instruction *i, uint64_t *const lane[32])
{
    static _Thread_local struct fragment a[4], b[16];
    static _Thread_local struct { uint64_t a, b; double value[16][8]; } products[16];
    struct fragment *fa = &a[i->line & 3], *fb = &b[i->line & 15];
    double (*product)[8] = products[i->line & 15].value;
    fill(fa, i, 1, lane);
    fill(fb, i, 2, lane);
    if (products[i->line & 15].a != fa->stamp || products[i->line & 15].b != fb->stamp) {
        memset(product, 0, sizeof products[0].value);
        for (unsigned row = 0; row < i->shape_m; row++)
            for (unsigned k = 0; k < i->shape_k; k++)
                for (unsigned n = 0; n < 8; n++)
                    product[row][n] += fa->matrix[row * i->shape_k + k] * fb->matrix[k * 8 + n];
        products[i->line & 15].a = fa->stamp;
        products[i->line & 15].b = fb->stamp;
    }
    bool half = i->type == T_F16;
    const struct ptx_operand *d = &i->operand[i->group_start[0]], *c = &i->operand[i->group_start[3]];
    for (unsigned l = 0; l < 32; l++) {
        unsigned g = l >> 2, t = l & 3;
        unsigned count = i->shape_m == 16 ? 4 : 2;
        if (i->type == T_F32) {
            for (unsigned e = 0; e < count; e++) {
                uint32_t bits = (uint32_t)bits_of(&c[e], lane[l]);
                float f;
                memcpy(&f, &bits, 4);
                f = (float)(product[g + 8 * (e >> 1)][2 * t + (e & 1)] + f);
                memcpy(&bits, &f, 4);
                lane[l][d[e].reg] = bits;
            }
            continue;
        }
        uint64_t out[4] = { 0 };
        for (unsigned e = 0; e < count; e++) {
            double sum = product[g + 8 * (e >> 1)][2 * t + (e & 1)];
            uint64_t before = half ? bits_of(&c[e >> 1], lane[l]) >> (16 * (e & 1)) : bits_of(&c[e], lane[l]);
            if (i->type == T_S32) {
                int32_t total = (int32_t)((uint32_t)before + (uint32_t)(int32_t)sum);
                if (i->saturate) {
                    double exact = (double)(int32_t)before + sum;
                    total = exact > 2147483647.0 ? INT32_MAX : exact < -2147483648.0 ? INT32_MIN : (int32_t)exact;
                }
                out[e] = (uint32_t)total;
            } else {
                out[e] = ptx_encode(i->type, sum + ptx_decode(i->type, before));
            }
        }
        if (half) {
            lane[l][d[0].reg] = out[0] | out[1] << 16;
            lane[l][d[1].reg] = out[2] | out[3] << 16;
        } else {
            for (unsigned e = 0; e < count; e++)
                lane[l][d[e].reg] = out[e];
        }
    }
}
