/*
 * dotk/dotk.h - the whole library: one operation, the dot product
 *
 * Text comes from a library of its own, libdotk-text: <dotk/text.h>.
 */
#ifndef DOTK_DOTK_H
#define DOTK_DOTK_H

#include <dotk/attention.h>
#include <dotk/base.h>
#include <dotk/cache.h>
#include <dotk/dense.h>
#include <dotk/io.h>
#include <dotk/linear_attention.h>
#include <dotk/machine.h>
#include <dotk/multihead.h>
#include <dotk/rotary.h>
#include <dotk/search.h>
#include <dotk/vector.h>

#endif /* DOTK_DOTK_H */
