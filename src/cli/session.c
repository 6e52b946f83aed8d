#include "cli/session.h"

#include "linalg/blas.h"
#include "passes/passes.h"

#include "cli/options.h"

/* Far above any machine, far below what can't be started. */
#define MOST_THREADS 1024

enum ldnq_status cli_session_init(struct cli_session *session, const struct cli_settings *settings,
                                  struct ldnq_error *err)
{
    *session = (struct cli_session){ .settings = settings };
    if (settings->threads > MOST_THREADS)
        return ldnq_fail(err, LDNQ_USAGE, "--threads %zu is too many; %d is the most",
                         settings->threads, MOST_THREADS);
    cli_progress_init(&session->progress, settings->quiet);
    ldnq_blas_acquire();
    session->has_blas = true;
    LDNQ_TRY(ldnq_arena_create(&session->arena, err));
    return ldnq_pool_create(settings->threads, &session->pool, err);
}

void cli_session_finish(struct cli_session *session)
{
    cli_progress_finish(&session->progress);
    ldnq_pool_destroy(session->pool);
    ldnq_arena_destroy(session->arena);
    ldnq_model_destroy(session->model);
    if (session->has_blas)
        ldnq_blas_release();
}

enum ldnq_status cli_session_import(struct cli_session *session, struct ldnq_error *err)
{
    const struct cli_list *dims = &session->settings->dims;
    LDNQ_TRY(ldnq_model_import(session->model, session->arena, &session->graph, err));
    for (size_t i = 0; i < dims->count; i++) {
        char name[256];
        const char *value;
        size_t size;
        if (!cli_split(dims->items[i], name, sizeof name, &value) ||
            !cli_parse_size(value, &size) || size > INT32_MAX)
            return ldnq_fail(err, LDNQ_USAGE, "--dim takes NAME=N, not '%s'", dims->items[i]);
        LDNQ_TRY(ldnq_pass_bind_dim(session->graph, name, (int64_t)size, err));
    }
    return LDNQ_OK;
}

enum ldnq_status cli_session_prepare(struct cli_session *session, struct ldnq_error *err)
{
    LDNQ_TRY(cli_session_import(session, err));
    return ldnq_passes_run(session->graph, err);
}

enum ldnq_status cli_session_beside(const struct cli_session *session, const char *path,
                                    struct cli_session *beside, struct ldnq_error *err)
{
    *beside = *session;
    beside->model = NULL;
    LDNQ_TRY(ldnq_model_load(path, &beside->model, err));
    return cli_session_import(beside, err);
}

enum ldnq_status cli_session_samples(struct cli_session *session, const char *path,
                                     bool need_labels, struct ldnq_samples **samples,
                                     struct ldnq_error *err)
{
    struct ldnq_samples_options options = {
        .preprocess = session->settings->preprocess,
        .max_samples = session->settings->max_samples,
        .seed = session->settings->seed,
        .shuffle = !need_labels, /* a part is held out, and files are sorted by class */
        .need_labels = need_labels,
    };
    return ldnq_samples_open(path, session->graph, &options, samples, err);
}
