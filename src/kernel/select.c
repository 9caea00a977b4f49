/* select.c - CPU (and DOTK_ISA) -> table */
#include "kernel/kernel.h"
#include "platform/cpu.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define DK_ISA(name, features) extern const struct dk_kernels dk_kernels_##name;
#include "kernel/isa.def"
#undef DK_ISA

static const struct {
    const struct dk_kernels *kernels;
    unsigned features;
} tables[] = {
#define DK_ISA(name, features) {&dk_kernels_##name, features},
#include "kernel/isa.def"
#undef DK_ISA
};

enum { TABLES = sizeof tables / sizeof tables[0] };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static unsigned cpu_features;
static char environment_isa[32]; /* $DOTK_ISA; "" when unset */

static void
look_once(void)
{
    const char *const isa = getenv("DOTK_ISA");

    cpu_features = dk_cpu_features();
    if (isa != NULL)
        strncpy(environment_isa, isa, sizeof environment_isa - 1);
}

const char *
dk_kernels_environment(void)
{
    pthread_once(&once, look_once);
    return environment_isa;
}

const struct dk_kernels *
dk_kernels_at(size_t i)
{
    pthread_once(&once, look_once);
    for (size_t t = 0; t < TABLES; t++) {
        if ((tables[t].features & ~cpu_features) == 0 && i-- == 0)
            return tables[t].kernels;
    }
    return NULL;
}

const struct dk_kernels *
dk_kernels_select(const char *isa)
{
    const struct dk_kernels *best = NULL, *kernels;

    pthread_once(&once, look_once);
    if (isa == NULL && environment_isa[0] != '\0')
        isa = environment_isa;
    for (size_t i = 0; (kernels = dk_kernels_at(i)) != NULL; i++) {
        if (isa == NULL || strcmp(isa, kernels->isa) == 0)
            best = kernels;
    }
    return best;
}

const char *
dk_kernels_names(void)
{
#define DK_ISA(name, features) ", " #name
    static const char names[] =
#include "kernel/isa.def"
#undef DK_ISA
        ;
    return names + 2;
}
