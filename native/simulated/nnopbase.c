/* libnnopbase.so of a simulated node: tensors and executors of the aclnn operators. */
#include "ascendcl.h"
#include "export.h"

#include <stdlib.h>
#include <string.h>

enum { OK = 0, NULL_POINTER = 161001, INVALID = 161002 };

/* The offset is the fifth argument and the format the sixth, in elements and as ACL_FORMAT_. */
EXPORT void *aclCreateTensor(const int64_t *size, uint64_t dimensions, int type, const int64_t *stride, int64_t offset, int format,
                             const int64_t *storage, uint64_t storage_dimensions, void *data)
{
    (void)storage_dimensions;
    if (size == NULL || storage == NULL || data == NULL || dimensions == 0 || dimensions > TENSOR_DIMENSIONS)
        return NULL;
    struct acl_tensor *made = calloc(1, sizeof *made);
    if (made == NULL)
        return NULL;
    *made = (struct acl_tensor){ .magic = TENSOR_MAGIC, .dimensions = dimensions, .offset = offset, .type = type, .format = format, .data = data };
    int64_t contiguous = 1;
    for (uint64_t d = dimensions; d-- > 0;) {
        made->size[d] = size[d];
        made->stride[d] = stride != NULL ? stride[d] : contiguous;
        contiguous *= size[d];
    }
    return made;
}

EXPORT int aclDestroyTensor(const void *tensor)
{
    if (tensor == NULL)
        return NULL_POINTER;
    free((void *)(uintptr_t)tensor);
    return OK;
}

EXPORT int aclSetAclOpExecutorRepeatable(void *executor)
{
    struct acl_executor *e = executor;
    if (e == NULL)
        return NULL_POINTER;
    if (e->magic != EXECUTOR_MAGIC)
        return INVALID;
    e->repeatable = true;
    return OK;
}

EXPORT int aclDestroyAclOpExecutor(void *executor)
{
    struct acl_executor *e = executor;
    if (e == NULL)
        return NULL_POINTER;
    if (e->magic != EXECUTOR_MAGIC)
        return INVALID;
    e->magic = 0;
    free(e);
    return OK;
}
