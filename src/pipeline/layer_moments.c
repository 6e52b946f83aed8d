#include "pipeline/layer_moments.h"

#include <math.h>

#include "linalg/blas.h"
#include "linalg/gram.h"

enum ldnq_status ldnq_layer_moments_init(struct ldnq_layer_moments *moments,
                                         const struct ldnq_layer_geometry *geometry,
                                         const float *weight, bool aims, struct ldnq_pool *pool,
                                         struct ldnq_arena *arena, struct ldnq_error *err)
{
    *moments = (struct ldnq_layer_moments){ .held = NULL };
    LDNQ_TRY(ldnq_statistics_init(&moments->statistics, geometry, pool, arena, err));
    if (!aims)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_compensation_init(&moments->target, geometry, weight, pool, arena, err));
    LDNQ_TRY(ldnq_arena_create(&moments->held, err));
    LDNQ_TRY(ldnq_statistics_init(&moments->held_statistics, geometry, pool, moments->held, err));
    return ldnq_compensation_init(&moments->held_target, geometry, weight, pool, moments->held,
                                  err);
}

void ldnq_layer_moments_release(struct ldnq_layer_moments *moments)
{
    ldnq_arena_destroy(moments->held);
    moments->held = NULL;
}

void ldnq_layer_moments_add(struct ldnq_layer_moments *moments, bool hold_out,
                            const struct ldnq_op_call *quantized, const struct ldnq_op_call *exact)
{
    const bool aside = hold_out && moments->held;
    ldnq_statistics_add(aside ? &moments->held_statistics : &moments->statistics, quantized);
    if (exact)
        ldnq_compensation_add(aside ? &moments->held_target : &moments->target, quantized, exact);
}

void ldnq_layer_moments_merge(struct ldnq_layer_moments *moments)
{
    if (moments->held) {
        ldnq_statistics_merge(&moments->statistics, &moments->held_statistics);
        ldnq_compensation_merge(&moments->target, &moments->held_target);
    }
    ldnq_layer_moments_release(moments);
}

/* What the held-out part says of a change X. */
struct verdict {
    double along, power; /* <X, E>, <X, X C> */
};

static double best_lambda(const struct verdict *verdict)
{
    if (!(verdict->along > 0) || !(verdict->power > 0))
        return 0;
    return verdict->along < verdict->power ? verdict->along / verdict->power : 1;
}

static double gain(const struct verdict *verdict)
{
    const double lambda = best_lambda(verdict);
    return lambda * (2 * verdict->along - lambda * verdict->power);
}

/* The sums have their upper triangle alone until they are finished; as sums of one they
 * stay what they are. */
static void mirror(struct ldnq_statistics *s)
{
    const size_t k = s->geometry.cols;
    for (size_t g = 0; g < s->geometry.groups; g++)
        ldnq_gram_finish(k, 1, s->gram + g * k * k, s->mean + g * k);
}

/* product (M, K) is scratch. */
static void weigh_group(const struct ldnq_layer_moments *m, size_t group, bool centred,
                        const double *step, double *product, struct verdict *verdict)
{
    const struct ldnq_statistics *s = &m->held_statistics;
    const struct ldnq_compensation *t = &m->held_target;
    const size_t k = s->geometry.cols, n = t->geometry.rows;
    const double all = (double)s->positions, *sum = s->mean + group * k;
    ldnq_dgemm(LDNQ_AS_IS, LDNQ_AS_IS, n, k, k, 1 / all, step, k, s->gram + group * k * k, k, 0,
               product, k);
    for (size_t r = 0; r < n; r++) {
        const double *x = step + r * k, *cross = t->cross + (group * n + r) * k;
        const double shift = t->shift[group * n + r] / all;
        double mean = 0;
        for (size_t i = 0; i < k; i++) {
            verdict->power += x[i] * product[r * k + i];
            verdict->along += x[i] * cross[i] / all;
            mean += x[i] * sum[i] / all;
        }
        verdict->power -= centred ? mean * mean : 0;
        verdict->along -= centred ? mean * shift : 0;
    }
}

static const double dampings[] = { 0.001, 0.01, 0.1, 1 };

/* The held-out part's own error, E |W (y - y^)|^2, about its mean where that is free. */
static double error_in_front(const struct ldnq_layer_moments *m, bool centred)
{
    const struct ldnq_compensation *t = &m->held_target;
    const double all = (double)m->held_statistics.positions;
    double sum = 0;
    for (size_t row = 0; row < t->geometry.groups * t->geometry.rows; row++) {
        const double mean = centred ? t->shift[row] / all : 0;
        sum += t->power[row] / all - mean * mean;
    }
    return sum;
}

static enum ldnq_status judge(struct ldnq_layer_moments *m, bool centred,
                              struct ldnq_compensation_strength *aim, struct ldnq_arena *arena,
                              struct ldnq_error *err)
{
    const size_t k = m->statistics.geometry.cols, block = m->target.geometry.rows * k;
    double *factor = ldnq_arena_alloc(arena, k * k, sizeof *factor, err), most = 0;
    double *step = ldnq_arena_alloc(arena, block, sizeof *step, err);
    double *product = ldnq_arena_alloc(arena, block, sizeof *product, err);
    if (!factor || !step || !product)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < sizeof dampings / sizeof *dampings; i++) {
        struct verdict verdict = { 0, 0 };
        for (size_t group = 0; group < m->target.geometry.groups; group++)
            if (ldnq_compensation_solve(&m->target, &m->statistics, group, centred, dampings[i],
                                        factor, step))
                weigh_group(m, group, centred, step, product, &verdict);
        if (!(gain(&verdict) > most))
            continue;
        most = gain(&verdict);
        aim->lambda = best_lambda(&verdict);
        aim->damping = dampings[i];
    }
    const double error = error_in_front(m, centred);
    if (error > 0)
        aim->left = 1 - most / error;
    return LDNQ_OK;
}

enum ldnq_status ldnq_layer_moments_choose(struct ldnq_layer_moments *m, bool centred,
                                           struct ldnq_compensation_strength *aim,
                                           struct ldnq_error *err)
{
    struct ldnq_arena *arena;
    *aim = (struct ldnq_compensation_strength){ 0, LDNQ_COMPENSATION_DAMPING, NAN };
    if (!m->held || m->statistics.positions == 0 || m->held_statistics.positions == 0 ||
        m->statistics.geometry.cols == 0)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    mirror(&m->held_statistics);
    const enum ldnq_status status = judge(m, centred, aim, arena, err);
    ldnq_arena_destroy(arena);
    return status;
}
