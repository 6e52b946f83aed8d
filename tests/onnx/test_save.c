/* SPDX-License-Identifier: Apache-2.0 */
#include "make.h"

#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/ldnq-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static const char *in_folder(const char *name)
{
    static char path[2][160];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static bool exists(const char *name)
{
    return access(in_folder(name), F_OK) == 0;
}

/* How many files there are of a pattern. */
static size_t count_files(const char *pattern)
{
    glob_t found;
    const int failed = glob(in_folder(pattern), 0, NULL, &found);
    const size_t count = failed ? 0 : found.gl_pathc;
    if (!failed)
        globfree(&found);
    return count;
}

/* A model with one of everything that ldnq only carries along. */
static struct make make_rich(void)
{
    struct make make = make_small(13);
    Onnx__ModelProto *proto = make.proto;
    proto->doc_string = make_text(&make, "");
    make_import(&make, "com.foreign", 1);
    make_append(&make, &proto->metadata_props, &proto->n_metadata_props,
                make_pair(&make, "k", "v"));
    Onnx__FunctionProto *function = make_message(&make, &onnx__function_proto__descriptor);
    function->name = make_text(&make, "F");
    function->domain = make_text(&make, "com.foreign");
    make_append(&make, &function->input, &function->n_input, make_text(&make, "a"));
    make_append(&make, &proto->functions, &proto->n_functions, function);
    Onnx__NodeProto *branch = make_node(&make, "If", "", "y", NULL, "z");
    make_node_in(&make, make_graph_attr(&make, branch, "then_branch")->g, "Relu", "", "t", NULL,
                 NULL, "inner");
    make_node(&make, "Mystery", "", "y", NULL, "q")->domain = make_text(&make, "com.foreign");
    Onnx__TrainingInfoProto *training = make_message(&make, &onnx__training_info_proto__descriptor);
    training->algorithm = make_message(&make, &onnx__graph_proto__descriptor);
    make_append(&make, &proto->training_info, &proto->n_training_info, training);
    return make;
}

static void add_unknown(struct make *make, ProtobufCMessage *message, const char *text)
{
    ProtobufCMessageUnknownField *field = ldnq_arena_alloc(make->arena, 1, sizeof *field, &err);
    field->tag = 1000;
    field->wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
    field->len = strlen(text) + 1;
    uint8_t *data = ldnq_arena_alloc(make->arena, field->len, 1, &err);
    data[0] = (uint8_t)strlen(text);
    memcpy(data + 1, text, strlen(text));
    field->data = data;
    message->unknown_fields = field;
    message->n_unknown_fields = 1;
}

static void assert_comes_back(struct make *make)
{
    struct ldnq_model *model = make_load(make);
    void *bytes;
    size_t size;
    assert_ok(ldnq_model_pack(model, &bytes, &size, &err));
    assert_int_equal(size, make->size);
    assert_memory_equal(bytes, make->bytes, size);
    ldnq_model_free_bytes(bytes);
    ldnq_model_destroy(model);
}

static void save_should_keep_what_it_does_not_understand(void **state)
{
    (void)state;
    struct make make = make_rich();
    assert_comes_back(&make);
    make_end(&make);
}

static void save_should_keep_unknown_fields_at_every_level(void **state)
{
    (void)state;
    struct make make = make_rich();
    add_unknown(&make, &make.proto->base, "model");
    add_unknown(&make, &make.graph->base, "graph");
    add_unknown(&make, &make.graph->node[0]->base, "node");
    add_unknown(&make, &make.graph->initializer[0]->base, "tensor");
    add_unknown(&make, &make.graph->input[0]->type->base, "type");
    assert_comes_back(&make);
    make_end(&make);
}

static void save_should_write_the_file(void **state)
{
    (void)state;
    struct make make = make_rich();
    struct ldnq_model *model = make_load(&make), *again;
    assert_ok(ldnq_model_save(model, in_folder("out.onnx"), &err));
    assert_false(exists("out.onnx.data"));
    assert_ok(ldnq_model_load(in_folder("out.onnx"), &again, &err));
    assert_true(ldnq_model_hash(again) == ldnq_model_hash(model));
    ldnq_model_destroy(again);
    ldnq_model_destroy(model);
    make_end(&make);
}

static void save_should_leave_nothing_behind_when_it_fails(void **state)
{
    (void)state;
    struct make make = make_small(13);
    struct ldnq_model *model = make_load(&make);
    assert_fails(ldnq_model_save(model, in_folder("none/out.onnx"), &err), LDNQ_IO, "out.onnx");
    assert_int_equal(mkdir(in_folder("taken"), 0777), 0);
    assert_fails(ldnq_model_save(model, in_folder("taken"), &err), LDNQ_IO, "taken");
    char command[160];
    snprintf(command, sizeof command, "ls %s | grep -q tmp", folder);
    assert_true(system(command) != 0);
    ldnq_model_destroy(model);
    make_end(&make);
}

/* ---- external data ------------------------------------------------------------------------ */

static void make_external(struct make *make, Onnx__TensorProto *tensor, const char *location,
                          size_t offset)
{
    char number[24];
    snprintf(number, sizeof number, "%zu", offset);
    tensor->has_raw_data = 0;
    tensor->has_data_location = 1;
    tensor->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    make_append(make, &tensor->external_data, &tensor->n_external_data,
                make_pair(make, "location", location));
    make_append(make, &tensor->external_data, &tensor->n_external_data,
                make_pair(make, "offset", number));
    make_append(make, &tensor->external_data, &tensor->n_external_data,
                make_pair(make, "checksum", "abc"));
}

/* "big" (32,16) and "small" (4) in one file. */
static struct ldnq_model *load_external(struct make *make)
{
    static float values[32 * 16 + 4];
    for (size_t i = 0; i < 32 * 16 + 4; i++)
        values[i] = (float)i + 1000;
    *make = make_small(13);
    make_external(make, make_weight(make, "big", DIMS(32, 16)), "w.bin", 16);
    make_external(make, make_weight(make, "small", DIMS(4)), "w.bin", 0);
    make_node(make, "Add", "", "big", "small", "z");
    make_bytes(make);
    assert_ok(ldnq_file_write(in_folder("w.bin"), values, sizeof values, &err));
    assert_ok(ldnq_file_write(in_folder("m.onnx"), make->bytes, make->size, &err));
    struct ldnq_model *model;
    assert_ok(ldnq_model_load(in_folder("m.onnx"), &model, &err));
    return model;
}

static const char *external_entry(const Onnx__TensorProto *tensor, const char *key)
{
    for (size_t i = 0; i < tensor->n_external_data; i++)
        if (strcmp(tensor->external_data[i]->key, key) == 0)
            return tensor->external_data[i]->value;
    return NULL;
}

static float first_of(const struct ldnq_model *model, const char *name)
{
    struct ldnq_arena *arena;
    struct ldnq_graph *graph;
    assert_ok(ldnq_arena_create(&arena, &err));
    assert_ok(ldnq_model_import(model, arena, &graph, &err));
    float first = *(const float *)ldnq_graph_find_value(graph, name)->constant->data;
    ldnq_arena_destroy(arena);
    return first;
}

static void save_should_write_external_data_anew(void **state)
{
    (void)state;
    struct make make;
    struct ldnq_model *model = load_external(&make), *again;
    assert_ok(ldnq_model_save(model, in_folder("q.onnx"), &err));
    ldnq_model_destroy(model);
    assert_ok(ldnq_model_load(in_folder("q.onnx"), &again, &err));
    const Onnx__TensorProto *big = again->proto->graph->initializer[2];
    const Onnx__TensorProto *small = again->proto->graph->initializer[3];
    const char *location = external_entry(big, "location");
    assert_true(exists(location) && strlen(location) == strlen("q.onnx..data") + 16);
    assert_memory_equal(location, "q.onnx.", 7);
    assert_string_equal(location + 7 + 16, ".data");
    assert_string_equal(external_entry(big, "length"), "2048");
    assert_string_equal(external_entry(big, "checksum"), "abc");
    assert_true(small->has_raw_data && !small->n_external_data);
    assert_true(first_of(again, "big") == 1004 && first_of(again, "small") == 1000);
    ldnq_model_destroy(again);
    make_end(&make);
}

/* Changes a weight as edits do: what is loaded is mapped read-only. */
static void change_first(struct ldnq_model *model, float value)
{
    ProtobufCBinaryData *raw = &model->proto->graph->initializer[2]->raw_data;
    float *copy = ldnq_arena_alloc(model->arena, raw->len, 1, &err);
    assert_non_null(copy);
    memcpy(copy, raw->data, raw->len);
    copy[0] = value;
    raw->data = (uint8_t *)copy;
}

static void an_old_model_should_stay_whole_until_it_is_replaced(void **state)
{
    (void)state;
    struct make make;
    struct ldnq_model *model = load_external(&make), *other;
    struct ldnq_model_writer *writer;
    assert_ok(ldnq_model_save(model, in_folder("two.onnx"), &err));
    assert_ok(ldnq_model_save(model, in_folder("two.onnx"), &err)); /* the same bytes */
    assert_int_equal(count_files("two.onnx*"), 2);
    change_first(model, 7);
    assert_ok(ldnq_model_writer_create(model, in_folder("two.onnx"), &writer, &err));
    assert_ok(ldnq_model_load(in_folder("two.onnx"), &other, &err));
    assert_true(first_of(other, "big") == 1004);
    ldnq_model_destroy(other);
    assert_ok(ldnq_model_writer_commit(writer, &err));
    ldnq_model_writer_destroy(writer);
    assert_int_equal(count_files("two.onnx*"), 2); /* without the old data */
    assert_ok(ldnq_model_load(in_folder("two.onnx"), &other, &err));
    assert_true(first_of(other, "big") == 7);
    /* What is loaded is not removed, when it was copied from the model that is replaced. */
    change_first(other, 8);
    assert_ok(ldnq_model_save(other, in_folder("two.onnx"), &err));
    assert_int_equal(count_files("two.onnx*"), 3);
    ldnq_model_destroy(other);
    assert_ok(ldnq_model_writer_create(model, in_folder("three.onnx"), &writer, &err));
    ldnq_model_writer_destroy(writer);
    assert_int_equal(count_files("three*"), 0);
    ldnq_model_destroy(model);
    make_end(&make);
}

static void save_should_not_change_the_model(void **state)
{
    (void)state;
    struct make make;
    struct ldnq_model *model = load_external(&make);
    assert_ok(ldnq_model_save(model, in_folder("q.onnx"), &err));
    size_t size = onnx__model_proto__get_packed_size(model->proto);
    assert_int_equal(size, make.size);
    uint8_t *bytes = malloc(size);
    onnx__model_proto__pack(model->proto, bytes);
    assert_memory_equal(bytes, make.bytes, size);
    free(bytes);
    assert_ok(ldnq_model_save(model, in_folder("m.onnx"), &err));
    ldnq_model_destroy(model);
    make_end(&make);
}

static void pack_should_hold_external_data_itself(void **state)
{
    (void)state;
    struct make make;
    struct ldnq_model *model = load_external(&make), *again;
    void *bytes;
    size_t size;
    assert_ok(ldnq_model_pack(model, &bytes, &size, &err));
    assert_ok(ldnq_model_load_memory(bytes, size, "packed", &again, &err));
    assert_true(first_of(again, "big") == 1004 && first_of(again, "small") == 1000);
    ldnq_model_free_bytes(bytes);
    ldnq_model_destroy(again);
    ldnq_model_destroy(model);
    make_end(&make);
}

static void save_should_survive_failing_allocation(void **state)
{
    (void)state;
    struct make make;
    struct ldnq_model *model = load_external(&make);
    enum ldnq_status status = LDNQ_NOMEM;
    long allowed = 0;
    for (; status == LDNQ_NOMEM && allowed < 100; allowed++) {
        ldnq_alloc_fail_after(allowed);
        status = ldnq_model_save(model, in_folder("poor.onnx"), &err);
        assert_true(status == LDNQ_OK || !exists("poor.onnx"));
        assert_true(status == LDNQ_OK || count_files("poor.onnx*") == 0);
    }
    ldnq_alloc_fail_after(-1);
    assert_int_equal(status, LDNQ_OK);
    assert_true(allowed > 5);
    assert_int_equal(onnx__model_proto__get_packed_size(model->proto), make.size);
    ldnq_model_destroy(model);
    make_end(&make);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(save_should_keep_what_it_does_not_understand),
        cmocka_unit_test(save_should_keep_unknown_fields_at_every_level),
        cmocka_unit_test(save_should_write_the_file),
        cmocka_unit_test(save_should_leave_nothing_behind_when_it_fails),
        cmocka_unit_test(save_should_write_external_data_anew),
        cmocka_unit_test(an_old_model_should_stay_whole_until_it_is_replaced),
        cmocka_unit_test(save_should_not_change_the_model),
        cmocka_unit_test(pack_should_hold_external_data_itself),
        cmocka_unit_test(save_should_survive_failing_allocation),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
