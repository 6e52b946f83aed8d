/* SPDX-License-Identifier: Apache-2.0 */
#include "api/page.h"

#include "base/alloc.h"
#include "base/file.h"
#include "report/html_page.h"

bool ldnq_page_is_wanted(const struct ldnq_options *options, const char *path)
{
    return path || ldnq_option_flag(options, OPTION_PAGE);
}

static enum ldnq_status store_page(struct ldnq_buffer *page, struct ldnq_result *result,
                                   struct ldnq_error *err)
{
    if (page->failed) {
        ldnq_buffer_finish(page);
        return ldnq_fail(err, LDNQ_NOMEM, "the page of the comparison: out of memory");
    }
    result->html = page->data;
    result->html_size = page->size;
    return LDNQ_OK;
}

enum ldnq_status ldnq_page_render(const struct ldnq_diff *diff, struct ldnq_result *result,
                                  struct ldnq_error *err)
{
    struct ldnq_buffer page = { 0 };
    ldnq_html_write_page(&page, diff);
    return store_page(&page, result, err);
}

enum ldnq_status ldnq_page_render_candidates(struct ldnq_diff *const *candidates, size_t count,
                                             struct ldnq_result *result, struct ldnq_error *err)
{
    struct ldnq_buffer page = { 0 };
    ldnq_html_write_candidates(&page, candidates, count);
    return store_page(&page, result, err);
}

enum ldnq_status ldnq_page_write(const struct ldnq_options *options, const char *path,
                                 struct ldnq_result *result, struct ldnq_error *err)
{
    if (path)
        LDNQ_TRY(ldnq_file_write(path, result->html, result->html_size, err));
    if (ldnq_option_flag(options, OPTION_PAGE))
        return LDNQ_OK;
    ldnq_free(result->html);
    result->html = NULL;
    result->html_size = 0;
    return LDNQ_OK;
}
