#include "pipeline/moments.h"

enum ldnq_status ldnq_moments_init(struct ldnq_moments *moments, size_t groups, size_t outputs,
                                   size_t inputs, const float *weight, bool aims,
                                   struct ldnq_pool *pool, struct ldnq_arena *arena,
                                   struct ldnq_error *err)
{
    *moments = (struct ldnq_moments){ .held = NULL };
    LDNQ_TRY(ldnq_statistics_init(&moments->statistics, groups, inputs, pool, arena, err));
    if (!aims)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_target_init(&moments->target, groups, outputs, inputs, weight, pool, arena,
                              err));
    LDNQ_TRY(ldnq_arena_create(&moments->held, err));
    LDNQ_TRY(ldnq_statistics_init(&moments->held_statistics, groups, inputs, pool, moments->held,
                                  err));
    return ldnq_target_init(&moments->held_target, groups, outputs, inputs, weight, pool,
                            moments->held, err);
}

void ldnq_moments_release(struct ldnq_moments *moments)
{
    ldnq_arena_destroy(moments->held);
    moments->held = NULL;
}

void ldnq_moments_add(struct ldnq_moments *moments, bool hold_out,
                      const struct ldnq_op_call *quantized, const struct ldnq_op_call *exact)
{
    const bool aside = hold_out && moments->held;
    ldnq_statistics_add(aside ? &moments->held_statistics : &moments->statistics, quantized);
    if (exact)
        ldnq_target_add(aside ? &moments->held_target : &moments->target, quantized, exact);
}

void ldnq_moments_join(struct ldnq_moments *moments)
{
    if (moments->held) {
        ldnq_statistics_join(&moments->statistics, &moments->held_statistics);
        ldnq_target_join(&moments->target, &moments->held_target);
    }
    ldnq_moments_release(moments);
}

/* <X, E_h> and <X, X C_h>, the latter the power of the change on the held-out part. */
static void weigh_group(const struct ldnq_moments *m, size_t group, bool centred,
                        const double *step, double *along, double *power)
{
    const struct ldnq_statistics *s = &m->held_statistics;
    const struct ldnq_target *t = &m->held_target;
    const size_t k = s->inputs, n = t->outputs;
    const double all = (double)s->positions, *sum = s->mean + group * k;
    for (size_t r = 0; r < n; r++) {
        const double *x = step + r * k, *cross = t->cross + (group * n + r) * k;
        const double shift = t->shift[group * n + r] / all;
        double mean = 0;
        for (size_t i = 0; i < k; i++) {
            const double *gram = s->gram + group * k * k + i * k; /* its upper triangle */
            double product = 0.5 * x[i] * gram[i];
            for (size_t j = i + 1; j < k; j++)
                product += x[j] * gram[j];
            *power += 2 * x[i] * product / all;
            *along += x[i] * cross[i] / all;
            mean += x[i] * sum[i] / all;
        }
        *power -= centred ? mean * mean : 0;
        *along -= centred ? mean * shift : 0;
    }
}

enum ldnq_status ldnq_moments_lambda(struct ldnq_moments *m, bool centred, double *lambda,
                                     struct ldnq_error *err)
{
    const size_t k = m->statistics.inputs;
    double along = 0, power = 0;
    struct ldnq_arena *arena;
    *lambda = 0;
    if (!m->held || m->statistics.positions == 0 || m->held_statistics.positions == 0)
        return LDNQ_OK;
    LDNQ_TRY(ldnq_arena_create(&arena, err));
    double *factor = ldnq_arena_alloc(arena, k * k, sizeof *factor, err);
    double *step = ldnq_arena_alloc(arena, m->target.outputs * k, sizeof *step, err);
    const bool has_room = factor && step;
    for (size_t group = 0; has_room && group < m->target.groups; group++)
        if (ldnq_target_step(&m->target, &m->statistics, group, centred, factor, step))
            weigh_group(m, group, centred, step, &along, &power);
    ldnq_arena_destroy(arena);
    if (along > 0 && power > 0)
        *lambda = along < power ? along / power : 1;
    return has_room ? LDNQ_OK : LDNQ_NOMEM;
}
