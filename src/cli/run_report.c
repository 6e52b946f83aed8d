#include "cli/run_report.h"

#include "compare/compare.h"
#include "report/report.h"

/* More would show no other picture. */
#define SAMPLES ((size_t)100)

static enum ldnq_status compare(struct cli_session *a, struct cli_session *b,
                                struct ldnq_samples *samples, const struct cli_curves *curves,
                                struct ldnq_error *err)
{
    const struct cli_settings *settings = a->settings;
    struct ldnq_diff *diff;
    const struct ldnq_diff_options options = {
        .model_a = a->model,
        .model_b = b->model,
        .graph_a = a->graph,
        .graph_b = b->graph,
        .samples = samples,
        .max_samples = SAMPLES,
        .pool = a->pool,
        .sink = &a->progress.sink,
    };
    LDNQ_TRY(ldnq_diff_create(&options, a->arena, &diff, err));
    cli_curves_show(curves, diff);
    return ldnq_diff_html(diff, settings->report, err);
}

enum ldnq_status cli_run_report(struct cli_session *session, struct ldnq_samples *samples,
                                const struct cli_curves *curves, struct ldnq_error *err)
{
    const struct cli_settings *settings = session->settings;
    struct cli_session a = { .model = NULL }, b = { .model = NULL };
    enum ldnq_status status = cli_session_beside(session, settings->models.items[0], &a, err);
    if (status == LDNQ_OK)
        status = cli_session_beside(session, settings->output, &b, err);
    if (status == LDNQ_OK)
        status = compare(&a, &b, samples, curves, err);
    ldnq_model_destroy(a.model);
    ldnq_model_destroy(b.model);
    return status;
}
