/* SPDX-License-Identifier: Apache-2.0 */
/* ranks_mpi.c: ranks that mpirun has started. Nothing else knows MPI.
 *
 * MPI reports neither a machine that is cut off nor a rank that has failed: a receive would wait
 * for ever. So no call here blocks: messages are polled, and a thread sends every other rank a beat
 * each second. A rank from which no beat came for 15 seconds is lost; a rank that fails says so in
 * a beat. Both end the exchanges of all others.
 *
 * Threads  MPI is called by two threads, one at a time (MPI_THREAD_SERIALIZED)
 */
#include "base/ranks_join.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <mpi.h>

#include "base/alloc.h"
#include "base/clock.h"

#define BEAT_SECONDS 1.0
#define LOST_SECONDS 15.0 /* unless this variable has another number */
#define LOST_VARIABLE "LDNQ_LOST_SECONDS"

/* How long the last beats may take, and how long others let the first rank report. */
#define LEAVE_SECONDS 2.0

/* The largest message that MPI carries at a time. */
#define MOST_BYTES ((size_t)1 << 28)

/* Polls before a waiting rank lets others have its processor, and the longest it then sleeps. */
#define QUICK_POLLS 200
#define LONGEST_SLEEP 1000000L /* nanoseconds */

#define NAME_BYTES 64

enum heartbeat_kind { BEAT_ALIVE, BEAT_FAILED, BEAT_DONE };

struct rank_beat {
    int kind;
    struct ldnq_error failure; /* of BEAT_FAILED */
};

struct mpi_peer {
    char version[NAME_BYTES], host[NAME_BYTES];
    struct rank_beat sent, received;
    MPI_Request sending, receiving;
    double heard; /* ldnq_now() of the last beat */
    bool is_done; /* it sends no more beats */
};

static struct mpi_ranks {
    struct ldnq_ranks ranks;
    MPI_Comm data, beats;
    struct mpi_peer *peers;
    pthread_mutex_t lock; /* of MPI, the peers and the failure */
    pthread_t beater;
    bool has_joined, has_beater, is_ours; /* is_ours: MPI was started here */
    atomic_bool has_failed, stops, lost_first;
    double lost_seconds;
    bool is_lost; /* the failure is that of a rank that is lost */
    struct ldnq_error failure;
} mpi = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- beats -------------------------------------------------------------------------------- */

static void report_failure(const struct ldnq_error *failure)
{
    if (!atomic_load(&mpi.has_failed))
        mpi.failure = *failure;
    atomic_store(&mpi.has_failed, true);
}

static void send_heartbeat(size_t rank, enum heartbeat_kind kind, const struct ldnq_error *failure)
{
    struct mpi_peer *peer = &mpi.peers[rank];
    int is_sent = 1;
    if (peer->sending != MPI_REQUEST_NULL)
        MPI_Test(&peer->sending, &is_sent, MPI_STATUS_IGNORE);
    if (!is_sent) /* the peer does not answer, and will be lost */
        return;
    peer->sent = (struct rank_beat){ .kind = (int)kind };
    if (failure)
        peer->sent.failure = *failure;
    MPI_Isend(&peer->sent, (int)sizeof peer->sent, MPI_BYTE, (int)rank, 0, mpi.beats,
              &peer->sending);
}

static void wait_for_heartbeat(size_t rank)
{
    struct mpi_peer *peer = &mpi.peers[rank];
    MPI_Irecv(&peer->received, (int)sizeof peer->received, MPI_BYTE, (int)rank, 0, mpi.beats,
              &peer->receiving);
}

static void read_heartbeat(size_t rank)
{
    struct mpi_peer *peer = &mpi.peers[rank];
    struct ldnq_error failure;
    peer->heard = ldnq_now();
    if (peer->received.kind == BEAT_DONE) {
        peer->is_done = true;
        return;
    }
    if (peer->received.kind == BEAT_FAILED) {
        ldnq_fail(&failure, peer->received.failure.status, "rank %zu on %s: %s", rank, peer->host,
                  peer->received.failure.message);
        report_failure(&failure);
    }
    wait_for_heartbeat(rank);
}

static void read_heartbeats(void)
{
    for (size_t rank = 0; rank < mpi.ranks.count; rank++) {
        struct mpi_peer *peer = &mpi.peers[rank];
        int has_come = 1;
        while (has_come && rank != mpi.ranks.rank && !peer->is_done) {
            MPI_Test(&peer->receiving, &has_come, MPI_STATUS_IGNORE);
            if (has_come)
                read_heartbeat(rank);
        }
    }
}

static void find_lost_ranks(double since)
{
    struct ldnq_error failure;
    for (size_t rank = 0; rank < mpi.ranks.count && !mpi.is_lost; rank++) {
        const struct mpi_peer *peer = &mpi.peers[rank];
        const double silent = ldnq_now() - (peer->heard > since ? peer->heard : since);
        if (rank == mpi.ranks.rank || peer->is_done || silent < mpi.lost_seconds)
            continue;
        ldnq_fail(&failure, LDNQ_IO,
                  "rank %zu on %s has not answered for %.0f s: its machine or the network between "
                  "is gone; start again, from the checkpoint if there is one",
                  rank, peer->host, silent);
        report_failure(&failure);
        mpi.is_lost = true;
        atomic_store(&mpi.lost_first, rank == 0);
    }
}

static void sleep_nanoseconds(long nanoseconds)
{
    const struct timespec time = { nanoseconds / 1000000000L, nanoseconds % 1000000000L };
    nanosleep(&time, NULL);
}

/* A process that was stopped, or whose machine slept, has heard of nobody for longer: silence
 * counts from when it went on. */
static void *exchange_heartbeats(void *unused)
{
    double since = ldnq_now(), last_sent = 0, last_look = since;
    while (!atomic_load(&mpi.stops)) {
        const double now = ldnq_now();
        since = now - last_look > 2 * BEAT_SECONDS ? now : since;
        last_look = now;
        pthread_mutex_lock(&mpi.lock);
        read_heartbeats();
        if (now - last_sent >= BEAT_SECONDS) {
            for (size_t rank = 0; rank < mpi.ranks.count; rank++)
                if (rank != mpi.ranks.rank && !mpi.peers[rank].is_done)
                    send_heartbeat(rank, BEAT_ALIVE, NULL);
            last_sent = now;
        }
        find_lost_ranks(since);
        pthread_mutex_unlock(&mpi.lock);
        sleep_nanoseconds(100000000L);
    }
    return unused;
}

/* Sends the last beat to all that may wait for one, for some time at most. */
static void send_last_heartbeat(enum heartbeat_kind kind, const struct ldnq_error *failure)
{
    const double end = ldnq_now() + LEAVE_SECONDS;
    for (size_t rank = 0; rank < mpi.ranks.count; rank++) {
        struct mpi_peer *peer = &mpi.peers[rank];
        int is_sent = 0;
        if (rank == mpi.ranks.rank || peer->is_done)
            continue;
        pthread_mutex_lock(&mpi.lock);
        /* Both sides may be here: each receives what the other waits to send. */
        while (peer->sending != MPI_REQUEST_NULL && !is_sent && ldnq_now() < end) {
            read_heartbeats();
            MPI_Test(&peer->sending, &is_sent, MPI_STATUS_IGNORE);
        }
        send_heartbeat(rank, kind, failure);
        pthread_mutex_unlock(&mpi.lock);
    }
}

/* ---- the record --------------------------------------------------------------------------- */

static enum ldnq_status check_ranks(void *ctx, struct ldnq_error *err)
{
    (void)ctx;
    if (!atomic_load(&mpi.has_failed))
        return LDNQ_OK;
    pthread_mutex_lock(&mpi.lock);
    const struct ldnq_error failure = mpi.failure;
    pthread_mutex_unlock(&mpi.lock);
    return ldnq_fail(err, failure.status, "%s", failure.message);
}

/* Starts to move the bytes from `at` on, as many as one message has. */
static int start_part(const struct ldnq_rank_message *message, size_t at, bool sends,
                      MPI_Request *request)
{
    const size_t left = message && at < message->bytes ? message->bytes - at : 0;
    const int bytes = (int)(left < MOST_BYTES ? left : MOST_BYTES);
    *request = MPI_REQUEST_NULL;
    if (left == 0)
        return MPI_SUCCESS;
    char *data = (char *)message->data + at;
    return sends ? MPI_Isend(data, bytes, MPI_BYTE, (int)message->peer, 0, mpi.data, request)
                 : MPI_Irecv(data, bytes, MPI_BYTE, (int)message->peer, 0, mpi.data, request);
}

static int start_parts(const struct ldnq_rank_message *send,
                       const struct ldnq_rank_message *receive, size_t at, MPI_Request *requests)
{
    pthread_mutex_lock(&mpi.lock);
    int code = start_part(receive, at, false, &requests[0]);
    requests[1] = MPI_REQUEST_NULL;
    if (code == MPI_SUCCESS)
        code = start_part(send, at, true, &requests[1]);
    pthread_mutex_unlock(&mpi.lock);
    return code;
}

/* The buffers are the caller's: what was not received must not be written later. */
static void cancel_parts(MPI_Request *requests)
{
    pthread_mutex_lock(&mpi.lock);
    for (size_t i = 0; i < 2; i++)
        if (requests[i] != MPI_REQUEST_NULL) {
            MPI_Cancel(&requests[i]);
            MPI_Request_free(&requests[i]);
        }
    pthread_mutex_unlock(&mpi.lock);
}

static int wait_for_parts(MPI_Request *requests, struct ldnq_error *err)
{
    long sleep = 1000;
    for (size_t polls = 0;; polls++) {
        int done, code;
        pthread_mutex_lock(&mpi.lock);
        code = MPI_Testall(2, requests, &done, MPI_STATUSES_IGNORE);
        pthread_mutex_unlock(&mpi.lock);
        if (code != MPI_SUCCESS || done)
            return code;
        if (check_ranks(NULL, err) != LDNQ_OK) {
            cancel_parts(requests);
            return MPI_SUCCESS;
        }
        if (polls < QUICK_POLLS)
            continue;
        sleep_nanoseconds(sleep);
        sleep = sleep < LONGEST_SLEEP / 2 ? 2 * sleep : LONGEST_SLEEP;
    }
}

static enum ldnq_status fail_by_mpi(int code, struct ldnq_error *err)
{
    char text[MPI_MAX_ERROR_STRING];
    int length = 0;
    MPI_Error_string(code, text, &length);
    return ldnq_fail(err, LDNQ_IO, "a message between ranks failed: %.*s", length, text);
}

static enum ldnq_status exchange_by_mpi(void *ctx, const struct ldnq_rank_message *send,
                                        const struct ldnq_rank_message *receive,
                                        struct ldnq_error *err)
{
    const size_t to_send = send ? send->bytes : 0, to_receive = receive ? receive->bytes : 0;
    const size_t bytes = to_send > to_receive ? to_send : to_receive;
    (void)ctx;
    err->status = LDNQ_OK;
    for (size_t at = 0; at < bytes; at += MOST_BYTES) {
        MPI_Request requests[2];
        int code = start_parts(send, receive, at, requests);
        if (code == MPI_SUCCESS)
            code = wait_for_parts(requests, err);
        if (code != MPI_SUCCESS)
            return fail_by_mpi(code, err);
        if (err->status != LDNQ_OK)
            return err->status;
    }
    return LDNQ_OK;
}

/* A failure that came from another rank is known to all. */
static void leave_ranks(void *ctx, enum ldnq_status status, const char *message)
{
    struct ldnq_error failure;
    (void)ctx;
    if (check_ranks(NULL, NULL) != LDNQ_OK)
        return;
    ldnq_fail(&failure, status, "%s", message);
    send_last_heartbeat(BEAT_FAILED, &failure);
}

/* ---- the start and the end ---------------------------------------------------------------- */

/* At the end of the process. The ranks that are left can't finish together where one is lost. */
static void end_mpi(void)
{
    int is_finalized = 0;
    MPI_Finalized(&is_finalized);
    if (is_finalized)
        return;
    if (mpi.has_beater && !mpi.is_lost)
        send_last_heartbeat(BEAT_DONE, NULL);
    atomic_store(&mpi.stops, true);
    if (mpi.has_beater)
        pthread_join(mpi.beater, NULL);
    if (!mpi.is_lost)
        MPI_Finalize();
    else if (!ldnq_ranks_is_reporter())
        sleep_nanoseconds((long)(LEAVE_SECONDS * 1e9));
}

static bool was_started_by_mpi(void)
{
    static const char *const variables[] = { "OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK",
                                             "PMI_SIZE" };
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        if (getenv(variables[i]))
            return true;
    return false;
}

static enum ldnq_status start_mpi(struct ldnq_error *err)
{
    int is_started = 0, level = MPI_THREAD_SINGLE, code = MPI_SUCCESS;
    MPI_Initialized(&is_started);
    if (is_started)
        MPI_Query_thread(&level);
    else
        code = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &level);
    if (code != MPI_SUCCESS)
        return ldnq_fail(err, LDNQ_UNSUPPORTED, "MPI can't be started");
    mpi.is_ours = !is_started;
    if (mpi.is_ours && atexit(end_mpi) != 0)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    return level >= MPI_THREAD_SERIALIZED
               ? LDNQ_OK
               : ldnq_fail(err, LDNQ_UNSUPPORTED,
                           "MPI was started without threads (MPI_THREAD_SERIALIZED)");
}

/* Names and versions of all ranks: what comes later may differ between versions. */
static enum ldnq_status introduce_ranks(struct ldnq_error *err)
{
    char own[2][NAME_BYTES] = { LDNQ_VERSION, "" }, name[MPI_MAX_PROCESSOR_NAME + 1] = "";
    int length = 0;
    MPI_Get_processor_name(name, &length);
    snprintf(own[1], sizeof own[1], "%s", name);
    char *all = ldnq_calloc(mpi.ranks.count, sizeof own);
    if (!all)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    MPI_Allgather(own, (int)sizeof own, MPI_BYTE, all, (int)sizeof own, MPI_BYTE, mpi.data);
    for (size_t rank = 0; rank < mpi.ranks.count; rank++) {
        memcpy(mpi.peers[rank].version, all + rank * sizeof own, NAME_BYTES);
        memcpy(mpi.peers[rank].host, all + rank * sizeof own + NAME_BYTES, NAME_BYTES);
    }
    ldnq_free(all);
    for (size_t rank = 1; rank < mpi.ranks.count; rank++)
        if (strcmp(mpi.peers[rank].version, mpi.peers[0].version) != 0)
            return ldnq_fail(err, LDNQ_USAGE,
                             "rank %zu on %s is version %s, and rank 0 on %s is version %s; "
                             "install one version on all machines",
                             rank, mpi.peers[rank].host, mpi.peers[rank].version, mpi.peers[0].host,
                             mpi.peers[0].version);
    return LDNQ_OK;
}

static enum ldnq_status start_heartbeats(struct ldnq_error *err)
{
    const char *seconds = getenv(LOST_VARIABLE);
    mpi.lost_seconds = seconds ? atof(seconds) : LOST_SECONDS;
    if (!(mpi.lost_seconds > BEAT_SECONDS))
        return ldnq_fail(err, LDNQ_USAGE, LOST_VARIABLE " is '%s', and must be above %g", seconds,
                         BEAT_SECONDS);
    for (size_t rank = 0; rank < mpi.ranks.count; rank++) {
        mpi.peers[rank].sending = mpi.peers[rank].receiving = MPI_REQUEST_NULL;
        mpi.peers[rank].heard = ldnq_now();
        if (rank != mpi.ranks.rank)
            wait_for_heartbeat(rank);
    }
    mpi.has_beater = pthread_create(&mpi.beater, NULL, exchange_heartbeats, NULL) == 0;
    return mpi.has_beater ? LDNQ_OK : ldnq_fail(err, LDNQ_NOMEM, "no thread can be started");
}

static enum ldnq_status join_world(struct ldnq_error *err)
{
    int rank, count;
    LDNQ_TRY(start_mpi(err));
    MPI_Comm_dup(MPI_COMM_WORLD, &mpi.data);
    MPI_Comm_dup(MPI_COMM_WORLD, &mpi.beats);
    MPI_Comm_set_errhandler(mpi.data, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(mpi.beats, MPI_ERRORS_RETURN);
    MPI_Comm_rank(mpi.data, &rank);
    MPI_Comm_size(mpi.data, &count);
    mpi.ranks = (struct ldnq_ranks){ .rank = (size_t)rank,
                                     .count = (size_t)count,
                                     .exchange = exchange_by_mpi,
                                     .check = check_ranks,
                                     .leave = leave_ranks };
    mpi.peers = ldnq_calloc(mpi.ranks.count, sizeof *mpi.peers);
    if (!mpi.peers)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    mpi.has_joined = true;
    LDNQ_TRY(introduce_ranks(err));
    return count > 1 ? start_heartbeats(err) : LDNQ_OK;
}

enum ldnq_status ldnq_ranks_join(struct ldnq_ranks **ranks, struct ldnq_error *err)
{
    static bool was_tried;
    static struct ldnq_error failure;
    *ranks = NULL;
    if (!was_tried && was_started_by_mpi())
        join_world(&failure);
    was_tried = true;
    if (failure.status != LDNQ_OK)
        return ldnq_fail(err, failure.status, "%s", failure.message);
    if (mpi.has_joined && mpi.ranks.count > 1)
        *ranks = &mpi.ranks;
    return LDNQ_OK;
}

const char *ldnq_ranks_host(size_t rank)
{
    return mpi.has_joined && rank < mpi.ranks.count ? mpi.peers[rank].host : "";
}

bool ldnq_ranks_is_reporter(void)
{
    return !mpi.has_joined || mpi.ranks.rank == 0 || atomic_load(&mpi.lost_first);
}
