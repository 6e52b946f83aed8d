/* nearest_name.h: what a misspelled name may have meant. */
#ifndef LDNQ_API_NEAREST_NAME_H
#define LDNQ_API_NEAREST_NAME_H

/* Of `names`, which NULL ends, the one that takes the fewest insertions, deletions,
 * replacements and swaps of neighbors to become `name`, if those are at most a third of its
 * letters, or one; else NULL. Of several the first. */
const char *ldnq_nearest_name(const char *name, const char *const *names);

#endif
