#include "report/distance.h"

#include <math.h>

#include "base/alloc.h"
#include "base/pool.h"
#include "base/size.h"
#include "report/spread.h"

#define PIECE ((size_t)1 << 15)

struct job {
    const float *y, *t;
    size_t count;
    struct ldnq_distance *pieces;
};

static void sum_piece(void *ctx, size_t piece, size_t thread)
{
    (void)thread;
    const struct job *job = ctx;
    const size_t first = piece * PIECE, last = ldnq_size_min(first + PIECE, job->count);
    struct ldnq_distance s = { 0 };
    for (size_t i = first; i < last; i++) {
        const double y = (double)job->y[i], t = (double)job->t[i], e = y - t;
        s.tt += t * t;
        s.yy += y * y;
        s.ty += t * y;
        s.ee += e * e;
        s.most = fabs(e) > s.most ? fabs(e) : s.most;
    }
    job->pieces[piece] = s;
}

static bool can_compare(const struct ldnq_tensor *y, const struct ldnq_tensor *t)
{
    return y && t && y->dtype == LDNQ_FLOAT && t->dtype == LDNQ_FLOAT &&
           ldnq_shape_equal(&y->shape, &t->shape);
}

enum ldnq_status ldnq_distance_add(struct ldnq_distance *sums, const struct ldnq_tensor *y,
                                   const struct ldnq_tensor *t, struct ldnq_pool *pool,
                                   struct ldnq_error *err)
{
    sums->failed |= !can_compare(y, t);
    if (sums->failed)
        return LDNQ_OK;
    const size_t count = ldnq_tensor_count(t), pieces = ldnq_size_ceil_div(count, PIECE);
    struct job job = { .y = y->data, .t = t->data, .count = count };
    job.pieces = ldnq_calloc(pieces ? pieces : 1, sizeof *job.pieces);
    if (!job.pieces)
        return ldnq_fail(err, LDNQ_NOMEM, "out of memory");
    ldnq_pool_run(pool, pieces, sum_piece, &job);
    for (size_t i = 0; i < pieces; i++) {
        sums->tt += job.pieces[i].tt;
        sums->yy += job.pieces[i].yy;
        sums->ty += job.pieces[i].ty;
        sums->ee += job.pieces[i].ee;
        sums->most = fmax(sums->most, job.pieces[i].most);
    }
    sums->count += count;
    ldnq_free(job.pieces);
    return LDNQ_OK;
}

/* Two vectors of zeros point the same way. */
static double cosine(const struct ldnq_distance *sums)
{
    if (sums->ee == 0)
        return 1;
    return sums->tt > 0 && sums->yy > 0 ? sums->ty / sqrt(sums->tt * sums->yy) : 0;
}

struct ldnq_diff_error ldnq_distance_error(const struct ldnq_distance *sums)
{
    if (sums->failed || sums->count == 0)
        return (struct ldnq_diff_error){ NAN, NAN };
    return (struct ldnq_diff_error){ ldnq_sqnr(sums->tt, sums->ee), cosine(sums) };
}
