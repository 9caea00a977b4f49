/*
 * gate.h - one thing, many readers and one writer at a time
 *
 * A reader *enters*, looks at the thing and takes a view of it, and has *settled* when it has its
 * view; then it works on what the view refers to, for as long as it likes, and *leaves*. A writer
 * changes the thing in steps:
 *
 *     dk_gate_stop()    nobody is entering: what is looked at on entry can be changed
 *     dk_gate_clear()   nobody is inside: what views refer to can be changed as well
 *     dk_gate_open()    readers enter again
 *
 * A reader should settle soon, and a writer open soon: each makes the other side wait, and new
 * readers with it. The longest that an index does there is to look up the ids of a filter's long
 * list or to go through a bitmap, and to hash the ids of many new rows.
 *
 * What neither readers on entry nor views refer to can be changed at any time. Readers that come
 * meanwhile wait; they are let in when the gate opens, before the writer can close it again, so
 * that neither side starves the other. A reader must not enter twice: it would wait for itself
 * when a writer comes between.
 *
 * After fork() the gate of the child is open and has nobody inside (fork.h).
 */
#ifndef DOTK_PLATFORM_GATE_H
#define DOTK_PLATFORM_GATE_H

#include <stdbool.h>

struct dk_gate;

/* NULL: out of memory. */
struct dk_gate *dk_gate_create(void);
void dk_gate_destroy(struct dk_gate *gate);

/* Readers: each in this order. */
void dk_gate_enter(struct dk_gate *gate);
void dk_gate_settle(struct dk_gate *gate);
void dk_gate_leave(struct dk_gate *gate);

/* Writers: begin waits for the writer before. The others are called between begin and end. */
void dk_gate_begin(struct dk_gate *gate);
void dk_gate_stop(struct dk_gate *gate);
void dk_gate_clear(struct dk_gate *gate);
bool dk_gate_try_clear(struct dk_gate *gate); /* false, and as it was: somebody is inside */
void dk_gate_open(struct dk_gate *gate);
void dk_gate_end(struct dk_gate *gate);

#endif /* DOTK_PLATFORM_GATE_H */
