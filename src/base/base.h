/* base.h: status codes, error messages, arenas, and the sink that long work
 * reports to.
 *
 * Every fallible function of the library returns enum ldnq_status and fills in
 * a struct ldnq_error whose message is complete enough to print as it is.
 * Nothing in the library prints, exits, or asserts on input.
 */
#ifndef LDNQ_BASE_H
#define LDNQ_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ldnq.h" /* statuses, errors and progress, which callers see too */

/* Writes the message, sets and returns `status`. err may be NULL. */
enum ldnq_status ldnq_fail(struct ldnq_error *err, enum ldnq_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Inserts "context: " before the message that a callee left; sets and returns `status`. */
enum ldnq_status ldnq_fail_within(struct ldnq_error *err, enum ldnq_status status,
                                  const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The part of the message after the "context: " that it starts with, for use inside a
 * message with the same context; all of it when it starts otherwise. */
const char *ldnq_message_strip(const char *message, const char *context);

/* The only control-flow macro: hands a failure on to the caller. */
#define LDNQ_TRY(call)                                                                             \
    do {                                                                                           \
        enum ldnq_status ldnq_try_status_ = (call);                                                \
        if (ldnq_try_status_ != LDNQ_OK)                                                           \
            return ldnq_try_status_;                                                               \
    } while (0)

/* ---- arenas: memory by lifetime; freed all at once ---------------------- */

struct ldnq_arena;

/* Errors: NOMEM. The caller destroys it; destroy accepts NULL. */
enum ldnq_status ldnq_arena_create(struct ldnq_arena **out, struct ldnq_error *err);
void ldnq_arena_destroy(struct ldnq_arena *arena);

/* Zeroed memory for count objects of `size` bytes, aligned to 64. NULL with
 * NOMEM in err when the product overflows or memory is out. count 0 gives a
 * valid pointer. */
void *ldnq_arena_alloc(struct ldnq_arena *arena, size_t count, size_t size, struct ldnq_error *err);

/* A copy of the string, NUL-terminated; NULL with NOMEM in err. */
char *ldnq_arena_strdup(struct ldnq_arena *arena, const char *text, struct ldnq_error *err);
char *ldnq_arena_printf(struct ldnq_arena *arena, struct ldnq_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Bytes that the arena holds from the system. */
size_t ldnq_arena_bytes(const struct ldnq_arena *arena);

/* ---- time ------------------------------------------------------------------- */

/* Seconds by a clock that never goes back; only differences mean anything. */
double ldnq_now(void);
/* For tests: replaces that clock, NULL restores it. No other thread may run meanwhile. */
void ldnq_clock_replace(double (*clock)(void));

/* ---- threads ---------------------------------------------------------------- */

struct ldnq_pool;

/* threads 0 takes the processors that the process may run on.
 * Errors: NOMEM (threads that can't be started). The caller destroys it. */
enum ldnq_status ldnq_pool_create(size_t threads, struct ldnq_pool **out, struct ldnq_error *err);
void ldnq_pool_destroy(struct ldnq_pool *pool);

/* 1 for a NULL pool, which runs everything in the caller's thread. */
size_t ldnq_pool_threads(const struct ldnq_pool *pool);

/* ---- the sink: progress and warnings -------------------------------------- */

/* Any member may be NULL; a NULL sink is silent. */
struct ldnq_sink {
    void *ctx;
    /* Any result but 0 ends the work. */
    int (*progress)(void *ctx, const struct ldnq_progress *progress);
    void (*warn)(void *ctx, const char *message);
};

/* Errors: CANCELED, where the sink asks for the end. */
enum ldnq_status ldnq_sink_progress(const struct ldnq_sink *sink, const char *stage,
                                    const char *detail, size_t done, size_t total,
                                    struct ldnq_error *err);
void ldnq_sink_warn(const struct ldnq_sink *sink, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
