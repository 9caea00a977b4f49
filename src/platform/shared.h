/*
 * shared.h - internal functions that libdotk-text uses out of libdotk
 *
 * A declaration marked DK_SHARED(name) is exported by libdotk.so as dotk_private_<name>: the one
 * kind of name besides the public ones. It is no interface: both libraries are of one build.
 */
#ifndef DOTK_PLATFORM_SHARED_H
#define DOTK_PLATFORM_SHARED_H

#define DK_SHARED(name) __asm__("dotk_private_" #name) __attribute__((visibility("default")))

#endif /* DOTK_PLATFORM_SHARED_H */
