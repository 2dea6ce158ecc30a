/* flash.h: what is said after a redirect, and what is kept over a sign-in.
 * SPDX-License-Identifier: MIT */
#ifndef STOREFRONT_FLASH_H
#define STOREFRONT_FLASH_H

#include "view.h"

/* What somebody reads whose form was not made for them, or long ago. */
#define VIEW_STALE \
	"This form has gone stale. Please check it and send it once more."

/* Puts flash into the model when done is a word that we know. */
void flash_put(json_object *model, const char *done);

/* The sign-in page for who sent a form without being signed in: it keeps what
 * they typed, but no passwords. */
const struct fail *flash_keep(struct view *v);

/* What that page sent along, as form fields of the page that is next; NULL when
 * there is nothing. */
struct form *flash_kept(struct view *v);

#endif
