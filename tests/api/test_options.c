/* SPDX-License-Identifier: Apache-2.0 */
/* Options by name: what is accepted, what the messages say, and that a handle is always whole. */
#include "test.h"

#include <math.h>
#include <string.h>

#include "api/option_value.h"
#include "api/options.h"
#include "base/alloc.h"
#include "quant/quant.h"

static struct ldnq_error err;

static struct ldnq_options *create(void)
{
    struct ldnq_options *options;
    assert_ok(ldnq_options_create(&options, &err));
    return options;
}

static void set_should_refuse_an_unknown_name_and_propose_the_nearest(void **state)
{
    (void)state;
    struct ldnq_options *options = create();
    assert_fails(ldnq_options_set(options, "weigths", "int4", &err), LDNQ_USAGE,
                 "unknown option 'weigths'; did you mean 'weights'?");
    assert_fails(ldnq_options_set(options, "nonsense", "1", &err), LDNQ_USAGE,
                 "unknown option 'nonsense'");
    assert_fails(ldnq_options_set(options, "--weights", "int4", &err), LDNQ_USAGE,
                 "unknown option '--weights'; did you mean 'weights'?");
    assert_fails(ldnq_options_set(options, NULL, "1", &err), LDNQ_USAGE, "name");
    assert_fails(ldnq_options_set(NULL, "weights", "int4", &err), LDNQ_USAGE, "handle");
    assert_int_equal(ldnq_options_set(options, "weigths", "int4", NULL), LDNQ_USAGE);
    ldnq_options_destroy(options);
}

static const struct value_case {
    const char *name, *value;
    bool is_valid;
} value_cases[] = {
    { "weights", "int4", true },
    { "weights", "int2,int8", true },
    { "weights", "int2,,int8", false },
    { "weights", "int5", false },
    { "weights", "", false },
    { "solver", "gptq", true },
    { "solver", "gptq,rtn", false },
    { "granularity", "tensor|channel", false },
    { "budget", "3bits", true },
    { "budget", "8x", true },
    { "budget", "200K", true },
    { "budget", "0bits", false },
    { "budget", "bits", false },
    { "budget", "3bit", false },
    { "budget", "nanx", false },
    { "resize", "256", true },
    { "resize", "320x240", true },
    { "resize", "0x240", false },
    { "resize", "320x", false },
    { "resize", "input", false },
    { "letterbox", "input", true },
    { "preprocess", "clip", true },
    { "preprocess", "resnet", false },
    { "block-size", "0", false },
    { "block-size", "15", false },
    { "block-size", "16", true },
    { "rho", "0", false },
    { "rho", "-1", false },
    { "rho", "nan", false },
    { "rho", "inf", false },
    { "rho", "0.5", true },
    { "lambda", "auto", true },
    { "lambda", "0", true },
    { "lambda", "1", true },
    { "lambda", "1.01", false },
    { "lambda", "half", false },
    { "augment", "0", false },
    { "augment", "3", true },
    { "refine", "1", true },
    { "refine", "true", true },
    { "refine", "yes", false },
    { "opset", "1000", true },
    { "opset", "1001", false },
    { "mean", "1,2,3", true },
    { "mean", "1,2,3,4,5", false },
    { "mean", "1,", false },
    { "std", "inf", false },
    { "scale", "1/255", true },
    { "scale", "0", false },
    { "scale", "1/0", false },
    { "dim", "N=3", true },
    { "dim", "a=b=3", true },
    { "dim", "N=", false },
    { "dim", "=3", false },
    { "dim", "N=4294967296", false },
    { "max-mem", "1G", true },
    { "max-mem", "0", false },
    { "max-mem", "1T", false },
    { "max-mem", "99999999999G", false },
    { "seed", "18446744073709551615", true },
    { "seed", "18446744073709551616", false },
    { "seed", "-1", false },
    { "seed", " 1", false },
    { "threads", "1024", true },
    { "threads", "1025", false },
    { "output", "", false },
    { "fail-below-sqnr", "-3.5", true },
};

static void set_should_accept_values_in_range_and_begin_messages_with_the_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof value_cases / sizeof *value_cases; i++) {
        const struct value_case *each = &value_cases[i];
        struct ldnq_options *options = create();
        const enum ldnq_status status = ldnq_options_set(options, each->name, each->value, &err);
        if (status != (each->is_valid ? LDNQ_OK : LDNQ_USAGE))
            fail_msg("%s=%s: %s", each->name, each->value, ldnq_status_name(status));
        if (each->is_valid) {
            assert_string_equal(ldnq_options_get(options, each->name, 0), each->value);
        } else {
            assert_memory_equal(err.message, each->name, strlen(each->name));
            assert_null(strstr(err.message, "--"));
        }
        ldnq_options_destroy(options);
    }
}

static void set_should_name_the_nearest_choice_and_all_of_them(void **state)
{
    (void)state;
    struct ldnq_options *options = create();
    assert_fails(ldnq_options_set(options, "solver", "bean", &err), LDNQ_USAGE,
                 "solver 'bean' is not known; did you mean beam? there are auto, best, admm, "
                 "beam, cd, gptq, admm-paper, nearest, mse, rtn");
    assert_fails(ldnq_options_set(options, "threads", "two", &err), LDNQ_USAGE,
                 "threads takes N, a whole number up to 1024, not 'two'");
    ldnq_options_destroy(options);
}

static void get_should_return_what_was_set_or_the_default(void **state)
{
    (void)state;
    struct ldnq_options *options = create();
    assert_string_equal(ldnq_options_get(options, "solver", 0), "auto");
    assert_string_equal(ldnq_options_get(NULL, "solver", 0), "auto");
    assert_null(ldnq_options_get(options, "solver", 1));
    assert_null(ldnq_options_get(options, "weights", 0));
    assert_null(ldnq_options_get(options, "nonsense", 0));
    assert_ok(ldnq_options_set(options, "solver", "rtn", &err));
    assert_ok(ldnq_options_set(options, "solver", "gptq", &err));
    assert_string_equal(ldnq_options_get(options, "solver", 0), "gptq");
    assert_null(ldnq_options_get(options, "solver", 1));
    assert_ok(ldnq_options_set(options, "solver", NULL, &err));
    assert_string_equal(ldnq_options_get(options, "solver", 0), "auto");
    ldnq_options_destroy(options);
}

static void set_should_add_a_value_where_the_option_repeats(void **state)
{
    (void)state;
    size_t count;
    struct ldnq_options *options = create();
    assert_ok(ldnq_options_set(options, "skip", "a", &err));
    assert_ok(ldnq_options_set(options, "skip", "b*", &err));
    assert_fails(ldnq_options_set(options, "skip", "", &err), LDNQ_USAGE, "skip takes NODE");
    assert_string_equal(ldnq_options_get(options, "skip", 0), "a");
    assert_string_equal(ldnq_options_get(options, "skip", 1), "b*");
    assert_null(ldnq_options_get(options, "skip", 2));
    assert_string_equal(ldnq_option_list(options, OPTION_SKIP, &count)[1], "b*");
    assert_int_equal(count, 2);
    assert_ok(ldnq_options_set(options, "skip", NULL, &err));
    assert_null(ldnq_options_get(options, "skip", 0));
    ldnq_options_destroy(options);
}

static void a_value_that_is_refused_should_leave_the_handle_as_it_was(void **state)
{
    (void)state;
    struct ldnq_options *options = create();
    assert_ok(ldnq_options_set(options, "lambda", "0.25", &err));
    assert_fails(ldnq_options_set(options, "lambda", "7", &err), LDNQ_USAGE, "lambda takes");
    assert_string_equal(ldnq_options_get(options, "lambda", 0), "0.25");
    ldnq_options_destroy(options);
}

static void typed_values_should_be_those_of_the_texts(void **state)
{
    (void)state;
    struct ldnq_options *options = create();
    assert_true(isnan(ldnq_option_number(options, OPTION_LAMBDA)));
    assert_int_equal(ldnq_option_count(options, OPTION_MAX_MEM), 0);
    assert_int_equal(ldnq_option_choice(NULL, OPTION_GRANULARITY), 0);
    assert_false(ldnq_option_is_word(NULL, OPTION_OPSET, "keep"));
    assert_ok(ldnq_options_set(options, "max-mem", "3M", &err));
    assert_ok(ldnq_options_set(options, "refine", "true", &err));
    assert_ok(ldnq_options_set(options, "granularity", "block", &err));
    assert_ok(ldnq_options_set(options, "opset", "keep", &err));
    assert_fails(ldnq_options_set(options, "opset", "kept", &err), LDNQ_USAGE,
                 "opset takes N|keep");
    assert_int_equal(ldnq_option_count(options, OPTION_MAX_MEM), 3 << 20);
    assert_true(ldnq_option_flag(options, OPTION_REFINE));
    assert_false(ldnq_option_flag(options, OPTION_JSON));
    assert_int_equal(ldnq_option_choice(options, OPTION_GRANULARITY), 1 + LDNQ_PER_BLOCK);
    assert_int_equal(ldnq_option_count(options, OPTION_OPSET), 0);
    assert_true(ldnq_option_is_word(options, OPTION_OPSET, "keep"));
    ldnq_options_destroy(options);
}

static size_t count_choices(const char *choices)
{
    size_t count = 1;
    for (; *choices; choices++)
        count += *choices == '|';
    return count;
}

static void choices_should_be_what_there_is(void **state)
{
    (void)state;
    const char *codebooks = ldnq_option_table[OPTION_WEIGHTS].choices;
    const char *solvers = ldnq_option_table[OPTION_SOLVER].choices;
    size_t codebook_count = 0, solver_count = 0;
    for (; ldnq_codebooks()[codebook_count]; codebook_count++) {
        const char *name = ldnq_codebooks()[codebook_count]->name;
        assert_int_equal(ldnq_choice_find(codebooks, name, strlen(name)), codebook_count);
    }
    for (; ldnq_solvers()[solver_count]; solver_count++) {
        const char *name = ldnq_solvers()[solver_count]->name;
        assert_int_not_equal(ldnq_choice_find(solvers, name, strlen(name)), SIZE_MAX);
    }
    assert_int_equal(count_choices(codebooks), codebook_count);
    assert_int_equal(count_choices(solvers), solver_count + 1); /* auto */
}

static void every_option_should_be_complete_and_its_default_valid(void **state)
{
    (void)state;
    const struct ldnq_option *option;
    size_t count = 0;
    for (; (option = ldnq_options_describe(count)) != NULL; count++) {
        struct ldnq_options *options = create();
        assert_int_equal(ldnq_option_find(option->name), count); /* no name twice */
        assert_true(option->jobs != 0 && option->help && option->since);
        assert_int_equal(option->value == NULL, option->type == LDNQ_OPTION_FLAG);
        if (option->type == LDNQ_OPTION_CHOICE || option->type == LDNQ_OPTION_CHOICES)
            assert_non_null(option->choices);
        if (option->type == LDNQ_OPTION_COUNT || option->type == LDNQ_OPTION_NUMBER)
            assert_true(option->least < option->most);
        if (option->default_value)
            assert_ok(ldnq_options_set(options, option->name, option->default_value, &err));
        ldnq_options_destroy(options);
    }
    assert_int_equal(count, OPTION_COUNT);
    assert_null(ldnq_options_describe(SIZE_MAX));
}

static void nearest_should_propose_options_of_the_job_alone(void **state)
{
    (void)state;
    assert_string_equal(ldnq_options_nearest("weigths", LDNQ_JOB_QUANTIZE)->name, "weights");
    assert_null(ldnq_options_nearest("weigths", LDNQ_JOB_DIFF));
}

static enum ldnq_status fill(struct ldnq_options **options)
{
    LDNQ_TRY(ldnq_options_create(options, &err));
    LDNQ_TRY(ldnq_options_set(*options, "weights", "int4", &err));
    LDNQ_TRY(ldnq_options_set(*options, "weights", "int8", &err));
    LDNQ_TRY(ldnq_options_set(*options, "skip", "a", &err));
    return ldnq_options_set(*options, "skip", "b", &err);
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    enum ldnq_status status = LDNQ_NOMEM;
    long count = 0;
    for (; status != LDNQ_OK; count++) {
        struct ldnq_options *options = NULL;
        ldnq_alloc_fail_after(count);
        status = fill(&options);
        ldnq_alloc_fail_after(-1);
        assert_true(status == LDNQ_OK || status == LDNQ_NOMEM);
        if (options) {
            const char *weights = ldnq_options_get(options, "weights", 0);
            assert_true(!weights || strcmp(weights, "int4") == 0 || strcmp(weights, "int8") == 0);
        }
        ldnq_options_destroy(options);
    }
    assert_true(count > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_should_refuse_an_unknown_name_and_propose_the_nearest),
        cmocka_unit_test(set_should_accept_values_in_range_and_begin_messages_with_the_name),
        cmocka_unit_test(set_should_name_the_nearest_choice_and_all_of_them),
        cmocka_unit_test(get_should_return_what_was_set_or_the_default),
        cmocka_unit_test(set_should_add_a_value_where_the_option_repeats),
        cmocka_unit_test(a_value_that_is_refused_should_leave_the_handle_as_it_was),
        cmocka_unit_test(typed_values_should_be_those_of_the_texts),
        cmocka_unit_test(choices_should_be_what_there_is),
        cmocka_unit_test(every_option_should_be_complete_and_its_default_valid),
        cmocka_unit_test(nearest_should_propose_options_of_the_job_alone),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
