/* failpoint.h: places where a test build can be made to die, wait or forget.
 * SPDX-License-Identifier: MIT */
#ifndef TICKETING_FAILPOINT_H
#define TICKETING_FAILPOINT_H

#include <stdbool.h>
#include <stdint.h>

/*
 * All compile to nothing but in a build with `configure --enable-failpoints`.
 *
 * FAILPOINT("name") marks a step where a process might die.  FAILPOINTS in the
 * environment says what happens there: "name=abort,other=sleep:500"; with
 * "name=abort*3" it happens the third time.
 *
 * GUARD_OFF("name") is false unless GUARDS_OFF ("name,other") names it.
 * Negative controls switch a guard off and must see the rule broken that it
 * keeps.
 *
 * CLOCK_JUMP() is by how many ms the time of day is off: what stands in the
 * file CLOCK_JUMP/PROGRAM, an int64_t, which is looked at each time.
 */
#ifdef WITH_FAILPOINTS
void failpoint_reach(const char *name);
bool failpoint_guard_off(const char *name);
int64_t failpoint_jump(void);
#define FAILPOINT(name) failpoint_reach(name)
#define GUARD_OFF(name) failpoint_guard_off(name)
#define CLOCK_JUMP() failpoint_jump()
#else
#define FAILPOINT(name) ((void)0)
#define GUARD_OFF(name) false
#define CLOCK_JUMP() 0
#endif

#endif
