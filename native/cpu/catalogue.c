/* All kernels in one numbered list, the widest instruction sets first. */
#include "catalogue.h"

#include <string.h>

static const aicalib_kernel_entry *const tables[] = {
    aicalib_kernels_amx,      aicalib_kernels_avx512_vnni,  aicalib_kernels_avx512_bf16, aicalib_kernels_avx512,
    aicalib_kernels_avx_vnni, aicalib_kernels_avx2,         aicalib_kernels_sve,         aicalib_kernels_neon_dotprod,
    aicalib_kernels_neon,     aicalib_kernels_portable,
};

const aicalib_kernel_entry *aicalib_kernel_at(int32_t index)
{
    for (size_t table = 0; index >= 0 && table < sizeof tables / sizeof tables[0]; table++) {
        for (const aicalib_kernel_entry *entry = tables[table]; entry->precision != NULL; entry++) {
            if (index-- == 0)
                return entry;
        }
    }
    return NULL;
}

int aicalib_kernel_supported(const aicalib_kernel_entry *entry)
{
    return (aicalib_features() & entry->needs) == entry->needs;
}

int32_t aicalib_kernel_lanes(const aicalib_kernel_entry *entry)
{
    const int scalable = (entry->needs & AICALIB_HAS_SVE) != 0 && aicalib_kernel_supported(entry);
    return scalable ? entry->lanes * aicalib_sve_granules() : entry->lanes;
}

void aicalib_kernel_enter(const aicalib_kernel_entry *entry)
{
    if ((entry->needs & AICALIB_MATRIX_UNITS) != 0)
        aicalib_take_tiles();
}

void aicalib_kernel_leave(const aicalib_kernel_entry *entry)
{
    if ((entry->needs & AICALIB_MATRIX_UNITS) != 0)
        aicalib_let_tiles_go();
}

int32_t aicalib_kernel_count(void)
{
    int32_t count = 0;
    while (aicalib_kernel_at(count) != NULL)
        count++;
    return count;
}

int aicalib_kernel_describe(int32_t index, aicalib_kernel *kernel)
{
    const aicalib_kernel_entry *entry = aicalib_kernel_at(index);
    if (entry == NULL)
        return -1;
    *kernel = (aicalib_kernel){
        .precision = entry->precision,
        .accumulator = entry->accumulator,
        .instruction_set = entry->instruction_set,
        .path = (entry->needs & AICALIB_MATRIX_UNITS) != 0 ? "matrix" : "vector",
        .accumulators = entry->accumulators,
        .lanes = aicalib_kernel_lanes(entry),
        .products = entry->products,
        .form = entry->form,
        .chain_cycles = entry->chain_cycles,
        .variants = entry->chain_cycles > 0 ? AICALIB_VARIANTS : 1,
        .supported = aicalib_kernel_supported(entry),
    };
    return 0;
}
