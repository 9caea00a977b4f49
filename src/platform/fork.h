/* fork.h - objects with locks and threads, made anew in a child process */
#ifndef DOTK_PLATFORM_FORK_H
#define DOTK_PLATFORM_FORK_H

/* How many fork()s this process has behind it, counted from when the library was first used. */
unsigned dk_fork_count(void);

/*
 * If *stamp is not dk_fork_count(), calls init(object) and sets it; once, even when several
 * threads come at the same time.
 */
void dk_fork_refresh(unsigned *stamp, void (*init)(void *object), void *object);

#endif /* DOTK_PLATFORM_FORK_H */
