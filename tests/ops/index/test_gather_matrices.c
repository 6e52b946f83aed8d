/* SPDX-License-Identifier: Apache-2.0 */
/* Matrices that are looked up and multiplied, as a layer: the groups' products add up to what the
 * lookup and the product compute. */
#include "ops/use.h"
#include "with_blas.h"

#include "ops/index/gather_matrices.h"

enum { MATRICES = 4, K = 5, M = 3, P = 2 };

/* ids of (2, 3) and data of (2 or 1, 3 or 1, P, K). */
static void check_lookup(size_t down, size_t across, struct ldnq_rng *rng)
{
    static int64_t ids[6] = { 0, 3, -1, 1, 1, -4 };
    struct ldnq_layer_geometry geometry;
    const struct ldnq_op_layer *layer = &ldnq_gather_matrices_layer;
    struct use use;
    use_init(&use, "Gather", 13);
    use_input(&use, 0, (struct ldnq_shape){ 3, { MATRICES, K, M } }, rng);
    use_input(&use, 2, (struct ldnq_shape){ 4, { (int64_t)down, (int64_t)across, P, K } }, rng);
    const struct ldnq_tensor list = { .dtype = LDNQ_INT64, .shape = { 2, { 2, 3 } }, .data = ids };
    const struct ldnq_tensor *in[] = { use.in[0], &list, use.in[2] };
    const struct ldnq_op_call call = { .node = &use.node, .in_count = 3, .in = in };
    assert_ok(layer->describe_weight(&use.node, in[0], NULL, &geometry, &err));
    assert_int_equal(geometry.groups, MATRICES);
    assert_int_equal(geometry.rows, M);
    const size_t positions = layer->count_positions(&call);
    assert_int_equal(positions, 6 * P);
    const float *weight = in[0]->data, *data = in[2]->data;
    float columns[MATRICES][K * 6 * P];
    for (size_t g = 0; g < MATRICES; g++) {
        layer->fill_columns(&call, g, 0, 5, columns[g], positions);
        layer->fill_columns(&call, g, 5, positions - 5, columns[g] + 5, positions);
    }
    for (size_t p = 0; p < positions; p++)
        for (size_t row = 0; row < M; row++) {
            const size_t batch = p / P, i = batch / 3 % down, j = batch % 3 % across;
            const size_t matrix = (size_t)((ids[batch] + MATRICES) % MATRICES);
            double expected = 0, found = 0;
            for (size_t k = 0; k < K; k++) {
                const float *x = data + ((i * across + j) * P + p % P) * K;
                expected += (double)weight[(matrix * K + k) * M + row] * (double)x[k];
                for (size_t g = 0; g < MATRICES; g++)
                    found += (double)weight[ldnq_find_weight_offset(&geometry, g * M + row, k)] *
                             (double)columns[g][k * positions + p];
            }
            assert_within(found, expected, 1e-9);
        }
    use_finish(&use);
}

static void each_position_should_meet_the_matrix_of_its_id(void **state)
{
    (void)state;
    struct ldnq_rng rng = { 51 };
    for (size_t down = 1; down < 3; down++)
        for (size_t across = 1; across < 4; across += 2)
            check_lookup(down, across, &rng);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_position_should_meet_the_matrix_of_its_id),
    };
    return cmocka_run_group_tests(tests, acquire_blas, release_blas);
}
