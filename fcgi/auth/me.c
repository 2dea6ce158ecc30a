/* me.c: what users do with what is held on them.
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "handlers.h"

/* A session as its user sees it. */
struct session_view {
	char id[ID_SIZE];
	const char *agent;
	int64_t created_at, used_at;
	bool current; /* the one that asks */
};

static const struct field session_view[] = {
	FIELD(struct session_view, id, "id", FIELD_ID),
	FIELD(struct session_view, agent, "agent", FIELD_TEXT),
	FIELD(struct session_view, created_at, "createdAt", FIELD_TIME),
	FIELD(struct session_view, used_at, "usedAt", FIELD_TIME),
	FIELD(struct session_view, current, "current", FIELD_BOOL),
	{0},
};

/* The id of the session that this request's cookie is of, or "". */
static const struct fail *
current_session(struct request *rq, char id[ID_SIZE])
{
	return session_of(rq->cx, http_cookie(rq, REFRESH_COOKIE), id);
}

static const struct fail *
view_sessions(struct request *rq, json_object **ret)
{
	struct arena *a = rq->cx->arena;
	struct session *found;
	char current[ID_SIZE];
	size_t n;

	*ret = json_new_array(a);
	TRY(current_session(rq, current));
	TRY(session_find(rq->cx, rq->user.id, &found, &n));
	for (size_t i = 0; i < n; i++) {
		const struct session *s = &found[i];
		struct session_view view = {
			.agent = s->agent,
			.created_at = s->created_at,
			.used_at = s->used_at,
			.current = strcmp(s->head.id, current) == 0,
		};

		memcpy(view.id, s->head.id, ID_SIZE);
		json_object_array_add(*ret, json_object_get(record_to_json(
						    a, session_view, &view)));
	}
	return NULL;
}

const struct fail *
list_sessions(struct request *rq)
{
	json_object *list;

	TRY(view_sessions(rq, &list));
	return http_reply(rq, 200, list);
}

const struct fail *
end_session(struct request *rq)
{
	TRY(session_end(rq->cx, rq->user.id, rq->params[0]));
	return http_reply(rq, 204, NULL);
}

const struct fail *
end_other_sessions(struct request *rq)
{
	char current[ID_SIZE];

	TRY(current_session(rq, current));
	TRY(session_end_all(rq->cx, rq->user.id, current));
	return http_reply(rq, 204, NULL);
}
