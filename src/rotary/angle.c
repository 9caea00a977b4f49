/*
 * angle.c - angles of positions, and one row turned by them
 *
 * The textbook multiplies position and frequency in f32 and asks libm for cosine and sine: at
 * position 10^6 the product alone is wrong by 0.06 radians. Here angles are counted in whole turns
 * and in double. The fraction of a turn is then exact, with no long reduction by pi, and quarters
 * of a turn are exact as well; what is left, at most an eighth of a turn either way, takes two
 * short polynomials. Everything is plain multiplication and addition in a fixed order, so that it
 * has the same bits in any vector width.
 */
#include "rotary/rotary.h"

#include "platform/status.h"

#include <math.h>

#define PI            3.14159265358979323846

#define DEFAULT_THETA 10000.0
#define MAX_FREQUENCY 0x1p20f /* times DK_ROTARY_POSITIONS it stays below 2^51, see below */

dotk_status
dk_rotary_check(size_t width, size_t rotary_width, double theta, const float *frequencies,
                size_t *pairs)
{
    const size_t turned = rotary_width != 0 ? rotary_width : width;

    if (turned > width)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->rotary_width is %zu, above the width of %zu: at most that", turned,
                       width);
    if (turned % 2 != 0)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->rotary_width is %zu: numbers turn in pairs, make it even", turned);
    if (theta != 0 && !(theta >= 1 && isfinite(theta)))
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->theta is %g: it must be finite and at least 1, or 0 for %g", theta,
                       DEFAULT_THETA);
    if (theta != 0 && frequencies != NULL)
        return dk_fail(
            DOTK_BAD_ARGUMENT,
            "options->theta is %g beside options->frequencies: they say it all, leave it 0", theta);
    for (size_t i = 0; frequencies != NULL && i < turned / 2; i++) {
        if (!(fabsf(frequencies[i]) <= MAX_FREQUENCY))
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "options->frequencies[%zu] is %g: at most %g in size, in radians", i,
                           (double)frequencies[i], (double)MAX_FREQUENCY);
    }
    *pairs = turned / 2;
    return DOTK_OK;
}

void
dk_rotary_turns(double theta, const float *frequencies, size_t pairs, double *turns)
{
    if (theta == 0)
        theta = DEFAULT_THETA;
    for (size_t i = 0; i < pairs; i++) {
        const double frequency = frequencies != NULL ? (double)frequencies[i]
                                                     : pow(theta, -(double)i / (double)pairs);
        turns[i] = frequency / (2 * PI);
    }
}

/* The whole number nearest to x, |x| < 2^51: added to 1.5 * 2^52, x has no room for a fraction. */
static inline double
nearest(double x)
{
    const double room = 0x1.8p52;
    return (x + room) - room;
}

/*
 * Taylor's series, for |y| <= pi / 4. The first terms left out, y^15 / 15! and y^16 / 16!, are
 * 2.1e-14 and 1.0e-15 there, below 2^-45.
 */
static inline double
sine_of(double y)
{
    const double z = y * y;
    double sum = 1.0 / 6227020800;

    sum = sum * z - 1.0 / 39916800;
    sum = sum * z + 1.0 / 362880;
    sum = sum * z - 1.0 / 5040;
    sum = sum * z + 1.0 / 120;
    sum = sum * z - 1.0 / 6;
    return y + y * z * sum;
}

static inline double
cosine_of(double y)
{
    const double z = y * y;
    double sum = -1.0 / 87178291200;

    sum = sum * z + 1.0 / 479001600;
    sum = sum * z - 1.0 / 3628800;
    sum = sum * z + 1.0 / 40320;
    sum = sum * z - 1.0 / 720;
    sum = sum * z + 1.0 / 24;
    return 1 - z / 2 + z * z * sum;
}

void
dk_rotary_angles(const double *turns, size_t pairs, int64_t position, double *cosines,
                 double *sines)
{
    for (size_t i = 0; i < pairs; i++) {
        const double whole = (double)position * turns[i];
        const double part = whole - nearest(whole);       /* -1/2 .. 1/2 */
        const double quarter = nearest(4 * part);         /* -2 .. 2     */
        const double y = (part - quarter / 4) * (2 * PI); /* -pi/4 .. pi/4 */
        const double cosine = cosine_of(y), sine = sine_of(y);
        const double along = quarter == 1 || quarter == -1 ? sine : cosine;
        const double across = quarter == 1 || quarter == -1 ? cosine : sine;
        cosines[i] = quarter == 1 || quarter == 2 || quarter == -2 ? -along : along;
        sines[i] = quarter == -1 || quarter == 2 || quarter == -2 ? -across : across;
    }
}

void
dk_rotary_row(float *row, size_t pairs, bool interleaved, const double *cosines,
              const double *sines)
{
    const size_t apart = interleaved ? 1 : pairs, step = interleaved ? 2 : 1;

    for (size_t i = 0; i < pairs; i++) {
        float *const x = row + i * step, *const y = x + apart;
        const double turned = *x * cosines[i] - *y * sines[i];
        *y = (float)(*y * cosines[i] + *x * sines[i]);
        *x = (float)turned;
    }
}
