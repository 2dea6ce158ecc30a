/* mailer.h: sends the letters that services ask for, by SMTP.
 * SPDX-License-Identifier: MIT */
#ifndef AUTH_MAILER_H
#define AUTH_MAILER_H

#include "service.h"

/*
 * A letter is queued when its event is heard and tried until the mail server
 * takes it, for a day.  One whose server died after taking it may come twice,
 * with the same Message-ID.  Without SMTP_URL nothing is queued, ever.  What
 * was sent is kept as long as who asked for it keeps that: MAIL_KEPT.
 */
extern const struct kind letter_kind;
extern const struct setting mailer_settings[];
extern const struct hears mailer_hears[];
extern struct task mailer_sending;

/* The newest 1,000 letters to a user, as a JSON array that the arena owns. */
extern const struct field letter_view[];
const struct fail *mailer_view(struct context *cx, const char *user_id,
			       json_object **ret);

/* Takes out the letters to a user, and those that were kept for long enough. */
const struct fail *mailer_forget(struct context *cx, const char *user_id);
void mailer_sweep(struct context *cx);

/* After the settings.  NULL, or why it can't be. */
const char *mailer_open(void);
void mailer_close(void);

#endif
