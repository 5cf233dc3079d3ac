/* The part of cuBLASLt that a product by columns needs, as its documentation defines it, over memory that the host can
 * read: D = alpha op(A) op(B) + beta C in double precision, then rounded. Written from cublasLt.h, not from the driver.
 * Nothing is queued and no time passes: it is there for what is stored where, and for what the constants mean. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
enum { R_32F = 0, R_16F = 2, R_16BF = 14, R_8F_E4M3 = 28 };

struct layout { int type; uint64_t rows, columns; int64_t ld; };
struct operation { int compute, scale, transposed[2]; };
struct heuristic { uint64_t algo[8]; size_t workspace; int state; float waves; int reserved[4]; };
_Static_assert(sizeof(struct heuristic) == 96, "cublasLtMatmulHeuristicResult_t");

size_t cublasLtGetVersion(void) { return 130100; }
int cublasLtCreate(void **out) { *out = malloc(1); return SUCCESS; }
int cublasLtDestroy(void *handle) { free(handle); return SUCCESS; }

int cublasLtMatmulDescCreate(struct operation **out, int compute, int scale)
{
    *out = calloc(1, sizeof **out);
    (*out)->compute = compute;
    (*out)->scale = scale;
    return SUCCESS;
}

int cublasLtMatmulDescSetAttribute(struct operation *o, int attribute, const void *from, size_t size)
{
    if (size != 4 || attribute < 3 || attribute > 4)
        return INVALID_VALUE;
    memcpy(&o->transposed[attribute - 3], from, 4);
    return SUCCESS;
}

int cublasLtMatrixLayoutCreate(struct layout **out, int type, uint64_t rows, uint64_t columns, int64_t ld)
{
    *out = malloc(sizeof **out);
    **out = (struct layout){ type, rows, columns, ld };
    return SUCCESS;
}

int cublasLtMatmulPreferenceCreate(void **out) { *out = calloc(1, 8); return SUCCESS; }
int cublasLtMatmulPreferenceSetAttribute(void *p, int attribute, const void *from, size_t size)
{
    if (attribute != 1 || size != 8)
        return INVALID_VALUE;
    memcpy(p, from, 8);
    return SUCCESS;
}
int cublasLtMatmulDescDestroy(void *p) { free(p); return SUCCESS; }
int cublasLtMatrixLayoutDestroy(void *p) { free(p); return SUCCESS; }
int cublasLtMatmulPreferenceDestroy(void *p) { free(p); return SUCCESS; }

int cublasLtMatmulAlgoGetHeuristic(void *handle, struct operation *o, struct layout *a, struct layout *b, struct layout *c,
                                   struct layout *d, void *preference, int wanted, struct heuristic *found, int *count)
{
    (void)handle, (void)preference, (void)c, (void)d;
    int eight = a->type == R_8F_E4M3;
    *count = 0;
    if (wanted < 1 || o->scale != R_32F || (eight && (!o->transposed[0] || o->transposed[1] || b->type != R_8F_E4M3)))
        return NOT_SUPPORTED;
    *found = (struct heuristic){ .algo = { 42 }, .waves = 1 };
    *count = 1;
    return SUCCESS;
}

static double minifloat(unsigned bits, int exponent_bits, int fraction_bits)
{
    int bias = (1 << (exponent_bits - 1)) - 1, exponent = (int)(bits >> fraction_bits) & ((1 << exponent_bits) - 1);
    double fraction = (double)(bits & ((1u << fraction_bits) - 1)) / (1 << fraction_bits);
    double size = exponent == 0 ? ldexp(fraction, 1 - bias) : ldexp(1 + fraction, exponent - bias);
    return bits >> (exponent_bits + fraction_bits) & 1 ? -size : size;
}

static double at(const void *matrix, const struct layout *l, uint64_t row, uint64_t column)
{
    uint64_t place = row + column * (uint64_t)l->ld;
    switch (l->type) {
    case R_32F: return ((const float *)matrix)[place];
    case R_16F: return minifloat(((const uint16_t *)matrix)[place], 5, 10);
    case R_16BF: return minifloat(((const uint16_t *)matrix)[place], 8, 7);
    default: return minifloat(((const uint8_t *)matrix)[place], 4, 3);
    }
}

static int put(void *matrix, const struct layout *l, uint64_t row, uint64_t column, double value)
{
    uint64_t place = row + column * (uint64_t)l->ld;
    int exponent;
    double fraction = frexp(value, &exponent); /* 0.5 to 1 */
    if (l->type == R_32F)
        ((float *)matrix)[place] = (float)value;
    else if (l->type == R_16F || l->type == R_16BF) {
        int digits = l->type == R_16F ? 11 : 8, bias = l->type == R_16F ? 15 : 127;
        double whole = nearbyint(ldexp(fabs(fraction), digits)); /* normal numbers only */
        if (whole == ldexp(1, digits))
            whole /= 2, exponent++;
        uint16_t bits = whole == 0 ? 0 : (uint16_t)((unsigned)(exponent - 1 + bias) << (digits - 1) | ((unsigned)whole - (1u << (digits - 1))));
        ((uint16_t *)matrix)[place] = (uint16_t)(bits | (value < 0 ? 0x8000 : 0));
    } else
        return NOT_SUPPORTED;
    return SUCCESS;
}

int cublasLtMatmul(void *handle, struct operation *o, const float *alpha, const void *a, struct layout *la, const void *b,
                   struct layout *lb, const float *beta, const void *c, struct layout *lc, void *d, struct layout *ld,
                   const struct heuristic *algorithm, void *workspace, size_t size, void *stream)
{
    (void)handle, (void)stream;
    if (algorithm->algo[0] != 42 || (workspace == NULL && size > 0))
        return INVALID_VALUE;
    uint64_t inner = o->transposed[0] ? la->rows : la->columns;
    for (uint64_t i = 0; i < ld->rows; i++)
        for (uint64_t j = 0; j < ld->columns; j++) {
            double sum = 0;
            for (uint64_t k = 0; k < inner; k++)
                sum += (o->transposed[0] ? at(a, la, k, i) : at(a, la, i, k)) * (o->transposed[1] ? at(b, lb, j, k) : at(b, lb, k, j));
            int status = put(d, ld, i, j, *alpha * sum + (*beta != 0 ? *beta * at(c, lc, i, j) : 0));
            if (status != SUCCESS)
                return status;
        }
    return SUCCESS;
}
