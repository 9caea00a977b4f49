/* logarithm.h - what turns powers of e to powers of 2, and back */
#ifndef DOTK_KERNEL_LOGARITHM_H
#define DOTK_KERNEL_LOGARITHM_H

#define DK_LOG2_E 1.44269504088896340736 /* log2(e) */
#define DK_LN_2   0.69314718055994530942 /* ln(2)   */

#endif /* DOTK_KERNEL_LOGARITHM_H */
