#include "api/nearest_name.h"

#include <string.h>

#include "base/size.h"

/* Longer names are not those of an option. */
#define LONGEST ((size_t)32)

/* Optimal string alignment. Both have at most LONGEST letters. */
static size_t edit_distance(const char *a, size_t rows, const char *b, size_t cols)
{
    size_t table[LONGEST + 1][LONGEST + 1];
    for (size_t i = 0; i <= rows; i++)
        table[i][0] = i;
    for (size_t j = 0; j <= cols; j++)
        table[0][j] = j;
    for (size_t i = 1; i <= rows; i++)
        for (size_t j = 1; j <= cols; j++) {
            size_t least = table[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            least = ldnq_size_min(least, table[i - 1][j] + 1);
            least = ldnq_size_min(least, table[i][j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                least = ldnq_size_min(least, table[i - 2][j - 2] + 1);
            table[i][j] = least;
        }
    return table[rows][cols];
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
        const size_t distance = edit_distance(name, length, *names, other);
        if (distance < least && distance < length) {
            least = distance;
            nearest = *names;
        }
    }
    return nearest;
}
