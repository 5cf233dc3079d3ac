/* libopapi.so of a simulated node: aclnnMatmul and aclnnMm in their two phases, for two matrices.
 *
 * Not simulated: batches, bias, other formats than ND, quantised and grouped products. cubeMathType by the operator's
 * published documentation: 0 keeps the type, 1 lets fp32 be computed in less (fp16 on the Ascend 910, hf32 on the 910B),
 * 2 uses fp16, 3 uses hf32. The Ascend 910 has no bf16, refuses fp32 with 0 and everything with 3. */
#include "ascendcl.h"
#include "export.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

enum { OK = 0, NULL_POINTER = 161001, INVALID = 161002, FORMAT_ND = 2 };
enum { KEEP = 0, ALLOW_LESS = 1, USE_FP16 = 2, USE_HF32 = 3 };

static int refused(const char *why)
{
    aicalib_acl_message(why);
    return INVALID;
}

static bool matrix(const struct acl_tensor *t, struct acl_matrix *out)
{
    unsigned width = t->type == ACL_FLOAT ? 4 : 2;
    if (t->magic != TENSOR_MAGIC || t->dimensions != 2 || t->format != FORMAT_ND || t->size[0] <= 0 || t->size[1] <= 0 ||
        t->stride[0] <= 0 || t->stride[1] <= 0 || t->offset < 0)
        return false;
    *out = (struct acl_matrix){ (const uint8_t *)t->data + t->offset * width, t->size[0], t->size[1], t->stride[0], t->stride[1], t->type };
    uint64_t elements = (uint64_t)((t->size[0] - 1) * t->stride[0] + (t->size[1] - 1) * t->stride[1] + 1);
    return aicalib_acl_reachable(out->data, elements * width);
}

EXPORT int aclnnMatmulGetWorkspaceSize(const void *self, const void *mat2, void *out, int8_t cube_math_type, uint64_t *workspace,
                                       void **executor)
{
    if (self == NULL || mat2 == NULL || out == NULL || workspace == NULL || executor == NULL)
        return NULL_POINTER;
    if (!aicalib_acl_ready())
        return refused("aclInit has not been called");
    const struct acl_tensor *a = self, *b = mat2, *c = out;
    bool first = aicalib_acl_first_generation();
    bool known = (a->type == ACL_FLOAT || a->type == ACL_FLOAT16 || (a->type == ACL_BF16 && !first)) && b->type == a->type && c->type == a->type;
    if (!known)
        return refused("these data types are not supported on this processor");
    if (cube_math_type < KEEP || cube_math_type > USE_HF32)
        return refused("this cubeMathType is not simulated");
    if (first && (cube_math_type == USE_HF32 || (a->type == ACL_FLOAT && cube_math_type == KEEP)))
        return refused("this cubeMathType is not supported on this processor");
    struct acl_executor made = { .magic = EXECUTOR_MAGIC };
    if (!matrix(a, &made.a) || !matrix(b, &made.b) || !matrix(c, &made.c))
        return refused("two-dimensional ND tensors on the device are needed");
    if (made.a.columns != made.b.rows || made.c.rows != made.a.rows || made.c.columns != made.b.columns)
        return refused("the shapes do not fit");
    if (a->type == ACL_FLOAT && cube_math_type != KEEP)
        made.math = cube_math_type == USE_FP16 || first ? MATH_FP16 : MATH_HF32;
    struct acl_executor *kept = malloc(sizeof *kept);
    if (kept == NULL)
        return refused("out of host memory");
    *kept = made;
    *executor = kept;
    *workspace = 16u << 20;
    return OK;
}

/* Executors that have been used up are kept for a while, so that using one again is an error and no accident. */
static void bury(struct acl_executor *executor)
{
    static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
    static struct acl_executor *used_up[64];
    static unsigned next;
    executor->magic = 0;
    pthread_mutex_lock(&guard);
    free(used_up[next]);
    used_up[next] = executor;
    next = (next + 1) % 64;
    pthread_mutex_unlock(&guard);
}

EXPORT int aclnnMatmul(void *workspace, uint64_t size, void *executor, void *stream)
{
    struct acl_executor *e = executor;
    if (e == NULL || (workspace == NULL && size > 0))
        return NULL_POINTER;
    if (e->magic != EXECUTOR_MAGIC)
        return refused("the executor has been used up");
    if (size < 16u << 20 || !aicalib_acl_reachable(workspace, size))
        return refused("the workspace is too small or not on the device");
    int code = aicalib_acl_matmul(e, stream);
    if (!e->repeatable)
        bury(e);
    return code;
}

int aclnnMmGetWorkspaceSize(const void *, const void *, void *, int8_t, uint64_t *, void **) ALIAS(aclnnMatmulGetWorkspaceSize);
int aclnnMm(void *, uint64_t, void *, void *) ALIAS(aclnnMatmul);
