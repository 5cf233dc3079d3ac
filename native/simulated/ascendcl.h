/* What the simulated libascendcl, libnnopbase and libopapi share inside one process. */
#ifndef AICALIB_SIMULATED_ASCENDCL_H
#define AICALIB_SIMULATED_ASCENDCL_H

#include <stdbool.h>
#include <stdint.h>

#define TENSOR_DIMENSIONS 8

enum { ACL_FLOAT = 0, ACL_FLOAT16 = 1, ACL_INT8 = 2, ACL_INT32 = 3, ACL_UINT8 = 4, ACL_INT64 = 9, ACL_DOUBLE = 11, ACL_BOOL = 12, ACL_BF16 = 27 };

struct acl_tensor {
    uint32_t magic;
    uint64_t dimensions;
    int64_t size[TENSOR_DIMENSIONS], stride[TENSOR_DIMENSIONS], offset;
    int type, format;
    void *data;
};

/* How the cube computes: the type its inputs are rounded to before. */
enum acl_math { MATH_KEEP, MATH_FP16, MATH_HF32 };

struct acl_matrix { const uint8_t *data; int64_t rows, columns, row_stride, column_stride; int type; };

struct acl_executor {
    uint32_t magic;
    bool repeatable;
    struct acl_matrix a, b, c;
    enum acl_math math;
};

#define TENSOR_MAGIC 0x54534e53u
#define EXECUTOR_MAGIC 0x45584543u

/* Exported by libascendcl for the other two; no function of the vendor's. */
int aicalib_acl_matmul(const struct acl_executor *executor, void *stream);
bool aicalib_acl_reachable(const void *address, uint64_t size);
bool aicalib_acl_first_generation(void); /* the Ascend 910: fp16 cube only */
bool aicalib_acl_ready(void);
void aicalib_acl_message(const char *text);

#endif
