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

/* The numbers are the program's exit codes, so that a pipeline can tell the
 * classes apart; 1 is left to the shell and to crashes. */
enum ldnq_status {
    LDNQ_OK = 0,
    LDNQ_USAGE = 2,       /* a flag, a name or an argument is wrong */
    LDNQ_IO = 3,          /* a file can't be read, written or created */
    LDNQ_MODEL = 4,       /* the model file is damaged or not valid ONNX */
    LDNQ_UNSUPPORTED = 5, /* valid ONNX that ldnq does not handle */
    LDNQ_DATA = 6,        /* a sample is missing, damaged or does not fit */
    LDNQ_NUMERIC = 7,     /* NaN, infinity, or a factorization that failed */
    LDNQ_NOMEM = 8,       /* out of memory, or a size that can't be counted */
    LDNQ_GATE = 9,        /* a result that the caller's own limits don't let pass */
};

#define LDNQ_ERROR_SIZE 8192

/* Lives where the caller likes, usually on the stack of main or of a test.
 * Valid after any call that did not return LDNQ_OK. */
struct ldnq_error {
    enum ldnq_status status;
    char message[LDNQ_ERROR_SIZE]; /* one line, without a line feed */
};

/* Writes the message, sets and returns `status`. err may be NULL. */
enum ldnq_status ldnq_fail(struct ldnq_error *err, enum ldnq_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " in front of the message that a callee left; returns its status. */
enum ldnq_status ldnq_fail_within(struct ldnq_error *err, enum ldnq_status status,
                                  const char *format, ...) __attribute__((format(printf, 3, 4)));

/* "usage", "io", "model" ...: the class as programs read it in --json output. */
const char *ldnq_status_name(enum ldnq_status status);

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

/* ---- threads ---------------------------------------------------------------- */

struct ldnq_pool;

/* threads 0 takes the processors that the process may run on.
 * Errors: NOMEM (threads that can't be started). The caller destroys it. */
enum ldnq_status ldnq_pool_create(size_t threads, struct ldnq_pool **out, struct ldnq_error *err);
void ldnq_pool_destroy(struct ldnq_pool *pool);

/* 1 for a NULL pool, which runs everything in the caller's thread. */
size_t ldnq_pool_threads(const struct ldnq_pool *pool);

/* ---- the sink: progress and warnings -------------------------------------- */

struct ldnq_progress {
    const char *stage;  /* what is being done, e.g. "quantize" */
    const char *detail; /* which one, e.g. the layer's name; may be NULL */
    size_t done, total; /* steps of equal worth as far as is known */
};

/* Any member may be NULL; a NULL sink is silent. */
struct ldnq_sink {
    void *ctx;
    void (*progress)(void *ctx, const struct ldnq_progress *progress);
    void (*warn)(void *ctx, const char *message);
};

void ldnq_sink_progress(const struct ldnq_sink *sink, const char *stage, const char *detail,
                        size_t done, size_t total);
void ldnq_sink_warn(const struct ldnq_sink *sink, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
