/*
 * rotary.h - rotary position embedding of one row, for whoever stores or reads rows by position
 *
 *     dk_rotary_check()    once for the caller's options
 *     dk_rotary_turns()    once for a call or a cache
 *     dk_rotary_angles()   once for a position
 *     dk_rotary_row()      for each row at that position, of whichever head
 */
#ifndef DOTK_ROTARY_ROTARY_H
#define DOTK_ROTARY_ROTARY_H

#include <dotk/rotary.h>
#include <stdbool.h>

/* Positions are from -DK_ROTARY_POSITIONS to DK_ROTARY_POSITIONS. */
#define DK_ROTARY_POSITIONS ((int64_t)1 << 31)

/*
 * *pairs = how many pairs of a row of 'width' numbers turn. Errors: DOTK_BAD_ARGUMENT, by the names
 * options->rotary_width, options->theta, options->frequencies.
 */
dotk_status dk_rotary_check(size_t width, size_t rotary_width, double theta,
                            const float *frequencies, size_t *pairs);

/* turns[i] = how far pair i turns from a position to the next, as a part of a whole turn. */
void dk_rotary_turns(double theta, const float *frequencies, size_t pairs, double *turns);

/* cosines[i], sines[i] of pair i at a position. */
void dk_rotary_angles(const double *turns, size_t pairs, int64_t position, double *cosines,
                      double *sines);

/* Turns the first 2 * pairs numbers of a row where it lies. */
void dk_rotary_row(float *row, size_t pairs, bool interleaved, const double *cosines,
                   const double *sines);

#endif /* DOTK_ROTARY_ROTARY_H */
