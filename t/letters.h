/* letters.h: a real mail server for a test, and a folder of what it took.
 * SPDX-License-Identifier: MIT */
#ifndef T_LETTERS_H
#define T_LETTERS_H

/* Starts it, until the program ends; skips the program when it is not
 * installed.  Returns its URL. */
const char *letters_open(void);

/* It is killed, and there again at the same place. */
void letters_down(void);
void letters_up(void);

/* Where each letter is a file whose name ends with ".eml", and whose first line
 * says who it is to. */
const char *letters_folder(void);

#endif
