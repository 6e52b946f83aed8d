#include "cli/json.h"

#include <stdio.h>

enum ldnq_status cli_json_print(cJSON *root, bool filled, struct ldnq_error *err)
{
    char *text = filled ? cJSON_Print(root) : NULL;
    cJSON_Delete(root);
    if (!text)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    puts(text);
    cJSON_free(text);
    return LDNQ_OK;
}
