/* store.c - the conversion that a store takes; see store.h */
#include "codec/store.h"

#include <string.h>

static enum dk_half
half_of(dotk_store store)
{
    return store == DOTK_STORE_F16 ? DK_HALF_F16 : DK_HALF_BF16;
}

void
dk_widen_store(const struct dk_kernels *kernels, dotk_store store, const void *from, size_t count,
               float *out)
{
    if (store == DOTK_STORE_F32)
        memcpy(out, from, count * sizeof *out);
    else
        kernels->widen->widen_half[half_of(store)](from, count, out);
}

void
dk_narrow_store(const struct dk_kernels *kernels, dotk_store store, const float *from, size_t count,
                void *out)
{
    if (store == DOTK_STORE_F32)
        memcpy(out, from, count * sizeof *from);
    else
        kernels->widen->narrow_half[half_of(store)](from, count, out);
}
