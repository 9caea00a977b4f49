/* clock.h - wall-clock time */
#ifndef DOTK_PLATFORM_CLOCK_H
#define DOTK_PLATFORM_CLOCK_H

/* Seconds since some fixed moment; never goes back. */
double dk_seconds(void);

#endif /* DOTK_PLATFORM_CLOCK_H */
