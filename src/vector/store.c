/* store.c - numbers as f16 and bf16, and back: what a program needs that keeps its arrays so */
#include <dotk/vector.h>

#include "codec/half.h"
#include "platform/status.h"

#include <string.h>

static dotk_status
check(const void *from, size_t count, dotk_store store, const void *out)
{
    if ((from == NULL || out == NULL) && count > 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL: pass an array of %zu numbers",
                       from == NULL ? "numbers" : "out", count);
    if (store != DOTK_STORE_F32 && store != DOTK_STORE_F16 && store != DOTK_STORE_BF16)
        return dk_fail(DOTK_BAD_ARGUMENT, "store is %d (%s): it has to be f32, f16 or bf16",
                       (int)store, dotk_store_name(store) ? dotk_store_name(store) : "unknown");
    return DOTK_OK;
}

dotk_status
dotk_narrow(const float *numbers, size_t count, dotk_store store, void *out)
{
    const dotk_status status = check(numbers, count, store, out);

    if (status != DOTK_OK || count == 0)
        return status;
    if (store == DOTK_STORE_F32)
        memmove(out, numbers, count * sizeof *numbers);
    else if (store == DOTK_STORE_F16)
        dk_f32_to_f16_array(numbers, count, out);
    else
        dk_f32_to_bf16_array(numbers, count, out);
    return DOTK_OK;
}

dotk_status
dotk_widen(const void *numbers, size_t count, dotk_store store, float *out)
{
    const dotk_status status = check(numbers, count, store, out);

    if (status != DOTK_OK || count == 0)
        return status;
    if (store == DOTK_STORE_F32)
        memmove(out, numbers, count * sizeof *out);
    else if (store == DOTK_STORE_F16)
        dk_f16_to_f32_array(numbers, count, out);
    else
        dk_bf16_to_f32_array(numbers, count, out);
    return DOTK_OK;
}
