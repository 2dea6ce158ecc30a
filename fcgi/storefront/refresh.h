/* refresh.h: one refresh for all tabs that come with the same spent token.
 * SPDX-License-Identifier: MIT */
#ifndef STOREFRONT_REFRESH_H
#define STOREFRONT_REFRESH_H

#include "client.h"

/*
 * Tabs that were left open come back all at once.  auth would give each the
 * same new tokens; here one asks for them, the others wait for its answer, and
 * who is a little late gets it too, for less long than auth itself would give
 * it.  c->path and c->what say whom to ask; what came of it is in *c as if it
 * had been asked for this request alone.
 */
void refresh_run(struct arena *a, const struct visitor *visitor, struct call *c,
		 int64_t until);

#endif
