/* session.h: what every command does first: load, import, bind, prepare. */
#ifndef LDNQ_CLI_SESSION_H
#define LDNQ_CLI_SESSION_H

#include "exec/exec.h"
#include "onnx/onnx.h"

#include "cli/command.h"
#include "cli/progress.h"

/* A model that is loaded and its graph; the arena holds the graph. */
struct cli_session {
    const struct cli_settings *settings;
    struct ldnq_arena *arena;
    struct ldnq_model *model;
    struct ldnq_graph *graph;
    struct ldnq_pool *pool;
    struct cli_progress progress;
    bool has_blas; /* this session holds OpenBLAS */
};

/* OpenBLAS, arena, pool and progress. finish accepts a zeroed session. */
enum ldnq_status cli_session_init(struct cli_session *session, const struct cli_settings *settings,
                                  struct ldnq_error *err);
void cli_session_finish(struct cli_session *session);

/* The model's graph with --dim bound, ready to be executed. */
enum ldnq_status cli_session_prepare(struct cli_session *session, struct ldnq_error *err);
/* The same without the passes. */
enum ldnq_status cli_session_import(struct cli_session *session, struct ldnq_error *err);

/* Another model beside the session's, imported likewise, with the session's arena, pool and
 * progress. The caller destroys its model, and nothing else of it. */
enum ldnq_status cli_session_beside(const struct cli_session *session, const char *path,
                                    struct cli_session *beside, struct ldnq_error *err);

/* Samples at `path` for the session's graph. The caller destroys them. */
enum ldnq_status cli_session_samples(struct cli_session *session, const char *path,
                                     bool need_labels, struct ldnq_samples **samples,
                                     struct ldnq_error *err);

#endif
