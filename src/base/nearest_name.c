/* SPDX-License-Identifier: Apache-2.0 */
#include "ldnq.h"

#include <string.h>

#include "base/size.h"

/* Most bytes of a name of an option or a layer; longer names are not searched. */
#define LONGEST ((size_t)255)

/* Optimal string alignment. Both have at most LONGEST letters. Row i of the table is in
 * rows[i % 3]. */
static size_t compute_edit_distance(const char *a, size_t length, const char *b, size_t cols)
{
    size_t rows[3][LONGEST + 1];
    for (size_t j = 0; j <= cols; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= length; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i - 1) % 3], *second = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= cols; j++) {
            size_t least = above[j - 1] + (a[i - 1] != b[j - 1]);
            least = ldnq_size_min(least, above[j] + 1);
            least = ldnq_size_min(least, row[j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                least = ldnq_size_min(least, second[j - 2] + 1);
            row[j] = least;
        }
    }
    return rows[length % 3][cols];
}

const char *ldnq_nearest_name(const char *name, const char *const *names)
{
    const size_t length = strlen(name);
    const char *nearest = NULL;
    size_t least = ldnq_size_max(1, length / 3) + 1;
    if (length == 0 || length > LONGEST)
        return NULL;
    for (; *names; names++) {
        const size_t other = strlen(*names);
        if (other > LONGEST)
            continue;
        const size_t distance = compute_edit_distance(name, length, *names, other);
        if (distance < least && distance < length) {
            least = distance;
            nearest = *names;
        }
    }
    return nearest;
}
