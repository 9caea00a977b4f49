/* isas.c - prints the instruction sets of isa.def that this CPU can run, as a CMake list */
#include "platform/cpu.h"

#include <stdio.h>

int
main(void)
{
    static const struct {
        const char *name;
        unsigned features;
    } isas[] = {
#define DK_ISA(name, features) {#name, features},
#include "kernel/isa.def"
#undef DK_ISA
    };
    const unsigned have = dk_cpu_features();

    for (size_t i = 0; i < sizeof isas / sizeof isas[0]; i++) {
        if ((isas[i].features & ~have) == 0)
            printf("%s%s", i == 0 ? "" : ";", isas[i].name);
    }
    return 0;
}
