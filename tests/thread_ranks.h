/* SPDX-License-Identifier: Apache-2.0 */
/* thread_ranks.h: ranks (base/ranks.h) that are threads of the test, with mailboxes between them.
 */
#ifndef THREAD_RANKS_H
#define THREAD_RANKS_H

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/ranks.h"

#define MOST_THREAD_RANKS 20

struct rank_mail {
    void *data;
    size_t bytes;
    bool full;
};

struct thread_ranks {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct rank_mail mail[MOST_THREAD_RANKS][MOST_THREAD_RANKS]; /* from, to */
};

struct thread_rank {
    struct ldnq_ranks ranks;
    struct thread_ranks *all;
    size_t messages; /* after as many the exchanges fail; 0: none does */
    void (*run)(struct ldnq_ranks *ranks, void *ctx);
    void *ctx;
};

static enum ldnq_status exchange_between_threads(void *ctx, const struct ldnq_rank_message *send,
                                                 const struct ldnq_rank_message *receive,
                                                 struct ldnq_error *err)
{
    struct thread_rank *own = ctx;
    struct thread_ranks *all = own->all;
    if (own->messages > 0 && --own->messages == 0)
        return ldnq_fail(err, LDNQ_IO, "rank 1 has not answered");
    pthread_mutex_lock(&all->lock);
    if (send) {
        struct rank_mail *mail = &all->mail[own->ranks.rank][send->peer];
        while (mail->full)
            pthread_cond_wait(&all->changed, &all->lock);
        *mail = (struct rank_mail){ malloc(send->bytes), send->bytes, true };
        memcpy(mail->data, send->data, send->bytes);
        pthread_cond_broadcast(&all->changed);
    }
    enum ldnq_status status = LDNQ_OK;
    if (receive) {
        struct rank_mail *mail = &all->mail[receive->peer][own->ranks.rank];
        while (!mail->full)
            pthread_cond_wait(&all->changed, &all->lock);
        if (mail->bytes != receive->bytes)
            status = ldnq_fail(err, LDNQ_IO, "%zu bytes for %zu", mail->bytes, receive->bytes);
        else
            memcpy(receive->data, mail->data, mail->bytes);
        free(mail->data);
        mail->full = false;
        pthread_cond_broadcast(&all->changed);
    }
    pthread_mutex_unlock(&all->lock);
    return status;
}

static void *run_thread_rank(void *argument)
{
    struct thread_rank *own = argument;
    own->run(&own->ranks, own->ctx);
    return NULL;
}

/* Calls run(ranks, ctx + rank * ctx_size) in `count` threads, and waits for all. */
static void run_thread_ranks(size_t count, void (*run)(struct ldnq_ranks *, void *), void *ctx,
                             size_t ctx_size)
{
    struct thread_ranks all = { .lock = PTHREAD_MUTEX_INITIALIZER,
                                .changed = PTHREAD_COND_INITIALIZER };
    struct thread_rank own[MOST_THREAD_RANKS];
    pthread_t threads[MOST_THREAD_RANKS];
    for (size_t rank = 0; rank < count; rank++) {
        own[rank] = (struct thread_rank){
            .ranks = { .rank = rank, .count = count, .exchange = exchange_between_threads },
            .all = &all,
            .run = run,
            .ctx = (char *)ctx + rank * ctx_size
        };
        own[rank].ranks.ctx = &own[rank];
        pthread_create(&threads[rank], NULL, run_thread_rank, &own[rank]);
    }
    for (size_t rank = 0; rank < count; rank++)
        pthread_join(threads[rank], NULL);
}

#endif
