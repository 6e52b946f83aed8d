/* nearest_name.h: what a misspelled name may have meant. */
#ifndef LDNQ_API_NEAREST_NAME_H
#define LDNQ_API_NEAREST_NAME_H

/* Returns the first of `names`, a list ended by NULL, that becomes `name` by the fewest insertions,
 * deletions, replacements and swaps of neighbors. NULL if it takes more than one of them, and
 * more than a third of the letters. */
const char *ldnq_nearest_name(const char *name, const char *const *names);

#endif
