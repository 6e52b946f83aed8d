/* SPDX-License-Identifier: Apache-2.0 */
#include "make.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/rng.h"
#include "onnx/wire.h"

/* One call of everything that reads; whatever the bytes are, it must end well. */
static enum ldnq_status load_and_import(const void *bytes, size_t size)
{
    struct ldnq_model *model;
    struct ldnq_arena *arena = NULL;
    struct ldnq_graph *graph;
    enum ldnq_status status = ldnq_model_load_memory(bytes, size, "m.onnx", &model, &err);
    if (status == LDNQ_OK)
        status = ldnq_arena_create(&arena, &err);
    if (status == LDNQ_OK)
        status = ldnq_model_import(model, arena, &graph, &err);
    ldnq_arena_destroy(arena);
    ldnq_model_destroy(model);
    return status;
}

static void load_should_give_the_facts_of_a_model(void **state)
{
    (void)state;
    struct make make = make_small(13);
    make.proto->producer_name = make_text(&make, "maker");
    make_append(&make, &make.proto->metadata_props, &make.proto->n_metadata_props,
                make_pair(&make, "author", "me"));
    struct ldnq_model *model = make_load(&make);
    assert_string_equal(ldnq_model_path(model), "m.onnx");
    assert_string_equal(ldnq_model_producer(model), "maker");
    assert_int_equal(ldnq_model_opset(model), 13);
    assert_int_equal(ldnq_model_ir_version(model), 8);
    assert_int_equal(ldnq_model_bytes(model), make.size);
    assert_string_equal(ldnq_model_metadata(model, "author"), "me");
    assert_null(ldnq_model_metadata(model, "editor"));
    uint64_t hash = ldnq_model_hash(model);
    ldnq_model_destroy(model);
    make.graph->name = make_text(&make, "h");
    model = make_load(&make);
    assert_true(ldnq_model_hash(model) != hash);
    ldnq_model_destroy(model);
    make_end(&make);
}

static void set_metadata_should_replace_and_add(void **state)
{
    (void)state;
    struct make make = make_small(13);
    struct ldnq_model *model = make_load(&make);
    assert_ok(ldnq_model_set_metadata(model, "a", "1", &err));
    assert_ok(ldnq_model_set_metadata(model, "b", "2", &err));
    assert_ok(ldnq_model_set_metadata(model, "a", "3", &err));
    assert_string_equal(ldnq_model_metadata(model, "a"), "3");
    assert_string_equal(ldnq_model_metadata(model, "b"), "2");
    ldnq_model_destroy(model);
    make_end(&make);
}

static void load_should_refuse_what_is_not_a_model(void **state)
{
    (void)state;
    struct ldnq_model *model;
    struct make make = make_small(13);
    assert_fails(ldnq_model_load_memory("", 0, "m.onnx", &model, &err), LDNQ_MODEL,
                 "m.onnx: is empty");
    assert_null(model);
    assert_fails(ldnq_model_load_memory("hello", 5, "m.onnx", &model, &err), LDNQ_MODEL,
                 "m.onnx: is not an ONNX model: it is text");
    assert_fails(ldnq_model_load_memory("\1\2\xff", 3, "m.onnx", &model, &err), LDNQ_MODEL,
                 "m.onnx: is not an ONNX model or is damaged (");
    assert_fails(ldnq_model_load("no/such.onnx", &model, &err), LDNQ_IO, "no/such.onnx");
    assert_fails(ldnq_model_load("/", &model, &err), LDNQ_IO, "/: ");
    make.proto->producer_name = make_text(&make, "maker");
    make.proto->n_opset_import = 0;
    make_bytes(&make);
    assert_fails(ldnq_model_load_memory(make.bytes, make.size, "m.onnx", &model, &err), LDNQ_MODEL,
                 "no opset_import");
    make.proto->has_ir_version = 0;
    make_bytes(&make);
    assert_fails(ldnq_model_load_memory(make.bytes, make.size, "m.onnx", &model, &err), LDNQ_MODEL,
                 "no ir_version");
    make.proto->graph = NULL;
    make_bytes(&make);
    assert_fails(ldnq_model_load_memory(make.bytes, make.size, "m.onnx", &model, &err), LDNQ_MODEL,
                 "no graph");
    make_end(&make);
}

static void load_should_name_files_of_other_formats(void **state)
{
    (void)state;
    struct ldnq_model *model;
    static const struct {
        const char *bytes;
        size_t size;
        const char *name;
    } cases[] = {
#define CASE(bytes, name) { bytes, sizeof(bytes) - 1, name }
        CASE("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "Git LFS"),
        CASE("\n <!DOCTYPE html><title>404</title>", "web page"),
        CASE("<!-- x --><html></html>", "web page"),
        CASE("\x1f\x8b\x08\0\0\0\0\0\0\3", "gzip"),
        CASE("PK\3\4\0\0\0\0\0\0\0\0\0\0net/data.pkl", "PyTorch"),
        CASE("PK\3\4\0\0\0\0\0\0\0\0\0\0model.onnx", "zip archive"),
        CASE("\x1c\0\0\0ORTM\0\0\0\0", ".ort format"),
        CASE("\x08\1\x10\1\x4a\4\0\0\0\0", "TensorProto"),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_fails(ldnq_model_load_memory(cases[i].bytes, cases[i].size, "m.onnx", &model, &err),
                     LDNQ_MODEL, cases[i].name);
}

static void load_should_refuse_truncated_files(void **state)
{
    (void)state;
    struct make make = make_small(13);
    make_bytes(&make);
    size_t loaded = 0;
    for (size_t size = 0; size < make.size; size++) {
        /* A copy of that size lets the sanitizer see a read behind the end. */
        char *cut = malloc(size + 1);
        memcpy(cut, make.bytes, size);
        enum ldnq_status status = load_and_import(cut, size);
        loaded += status == LDNQ_OK;
        assert_true(status == LDNQ_OK || status == LDNQ_MODEL || status == LDNQ_UNSUPPORTED);
        free(cut);
    }
    /* Only the cuts between whole fields behind the graph can pass: none, as the
     * operator set comes last. */
    assert_int_equal(loaded, 0);
    make_end(&make);
}

static void load_should_survive_flipped_bytes(void **state)
{
    (void)state;
    struct make make = make_small(13);
    make_bytes(&make);
    struct ldnq_rng rng = { 7 };
    for (int round = 0; round < 20000; round++) {
        uint8_t *copy = malloc(make.size);
        memcpy(copy, make.bytes, make.size);
        for (size_t flips = 1 + ldnq_rng_below(&rng, 4); flips > 0; flips--)
            copy[ldnq_rng_below(&rng, make.size)] = (uint8_t)ldnq_rng_next(&rng);
        err.message[0] = '\0';
        if (load_and_import(copy, make.size) != LDNQ_OK)
            assert_true(*err.message && !strchr(err.message, '\n'));
        free(copy);
    }
    make_end(&make);
}

/* model.graph, then graph.node, node.attribute, attribute.g and so on, each as
 * long as what it holds. Returns the size. */
static size_t nest(uint8_t *bytes, size_t capacity, size_t depth)
{
    static const uint8_t cycle[] = { 1 << 3 | 2, 5 << 3 | 2, 6 << 3 | 2 };
    size_t at = capacity;
    for (size_t level = depth; level-- > 0;) {
        uint8_t head[8];
        size_t length = capacity - at, used = 0;
        head[used++] = level ? cycle[(level - 1) % 3] : 7 << 3 | 2;
        for (; length >= 0x80; length >>= 7)
            head[used++] = (uint8_t)(length | 0x80);
        head[used++] = (uint8_t)length;
        at -= used;
        memcpy(bytes + at, head, used);
    }
    memmove(bytes, bytes + at, capacity - at);
    return capacity - at;
}

static void load_should_refuse_deep_nesting(void **state)
{
    (void)state;
    const ProtobufCMessageDescriptor *kind = &onnx__model_proto__descriptor;
    size_t capacity = (size_t)600 << 10;
    uint8_t *bytes = malloc(capacity);
    struct ldnq_model *model;
    size_t size = nest(bytes, capacity, 100000);
    assert_fails(ldnq_model_load_memory(bytes, size, "m.onnx", &model, &err), LDNQ_MODEL,
                 "nested more than 100 deep");
    assert_ok(ldnq_wire_check(kind, bytes, nest(bytes, capacity, LDNQ_WIRE_DEPTH - 1), &err));
    assert_fails(ldnq_wire_check(kind, bytes, nest(bytes, capacity, LDNQ_WIRE_DEPTH), &err),
                 LDNQ_MODEL, "nested");
    free(bytes);
}

static void load_should_refuse_nul_in_names(void **state)
{
    (void)state;
    struct make make = make_small(13);
    struct ldnq_model *model;
    make.graph->name = make_text(&make, "abXcd");
    make_bytes(&make);
    char *at = NULL;
    for (size_t i = 0; i + 5 <= make.size; i++)
        if (memcmp((char *)make.bytes + i, "abXcd", 5) == 0)
            at = (char *)make.bytes + i;
    assert_non_null(at);
    at[2] = '\0';
    assert_fails(ldnq_model_load_memory(make.bytes, make.size, "m.onnx", &model, &err), LDNQ_MODEL,
                 "field 'name' of GraphProto holds a NUL");
    make_end(&make);
}

static void load_should_refuse_two_graphs(void **state)
{
    (void)state;
    struct make make = make_small(13);
    struct ldnq_model *model;
    make_bytes(&make);
    uint8_t *twice = malloc(2 * make.size);
    memcpy(twice, make.bytes, make.size);
    memcpy(twice + make.size, make.bytes, make.size);
    assert_fails(ldnq_model_load_memory(twice, 2 * make.size, "m.onnx", &model, &err), LDNQ_MODEL,
                 "field 'graph' of ModelProto comes twice");
    free(twice);
    make_end(&make);
}

static void load_should_free_everything_when_memory_is_out(void **state)
{
    (void)state;
    struct make make = make_small(13);
    Onnx__NodeProto *branch = make_node(&make, "If", "", "y", NULL, "z");
    Onnx__GraphProto *then = make_graph_attr(&make, branch, "then_branch")->g;
    make_node_in(&make, then, "Relu", "", "t", NULL, NULL, "inner");
    make_bytes(&make);
    enum ldnq_status status = LDNQ_NOMEM;
    long allowed = 0;
    for (; status == LDNQ_NOMEM && allowed < 1000; allowed++) {
        ldnq_alloc_fail_after(allowed);
        status = load_and_import(make.bytes, make.size);
    }
    ldnq_alloc_fail_after(-1);
    assert_int_equal(status, LDNQ_OK);
    assert_true(allowed > 5);
    make_end(&make);
}

/* ---- external data ---------------------------------------------------------------------- */

static char folder[64], outside[96];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/ldnq-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(outside, sizeof outside, "%s-outside", folder);
    return ldnq_file_write(outside, "0123456789012345678901234567890123456789012345678", 48, NULL);
}

static int remove_folder(void **state)
{
    (void)state;
    char command[256];
    snprintf(command, sizeof command, "rm -rf '%s' '%s'", folder, outside);
    return system(command);
}

static const char *in_folder(const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* m.onnx in the folder, whose "w" (4,3) is in another file. */
static enum ldnq_status load_external(const char *location, const char *offset, const char *length,
                                      struct ldnq_model **model)
{
    struct make make = make_small(13);
    Onnx__TensorProto *w = make.graph->initializer[0];
    w->has_raw_data = 0;
    w->has_data_location = 1;
    w->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    if (location)
        make_append(&make, &w->external_data, &w->n_external_data,
                    make_pair(&make, "location", location));
    if (offset)
        make_append(&make, &w->external_data, &w->n_external_data,
                    make_pair(&make, "offset", offset));
    if (length)
        make_append(&make, &w->external_data, &w->n_external_data,
                    make_pair(&make, "length", length));
    make_bytes(&make);
    assert_ok(ldnq_file_write(in_folder("m.onnx"), make.bytes, make.size, &err));
    make_end(&make);
    return ldnq_model_load(in_folder("m.onnx"), model, &err);
}

static void write_weights(const char *name)
{
    float values[16];
    for (int i = 0; i < 16; i++)
        values[i] = (float)(100 + i);
    assert_ok(ldnq_file_write(in_folder(name), values, sizeof values, &err));
}

static void load_of_external_data_should_report_failing_allocations(void **state)
{
    (void)state;
    struct ldnq_model *model;
    write_weights("w.bin");
    assert_ok(load_external("w.bin", "4", "48", &model));
    ldnq_model_destroy(model);
    enum ldnq_status status = LDNQ_NOMEM;
    long allowed = 0;
    for (; status == LDNQ_NOMEM && allowed < 100; allowed++) {
        ldnq_alloc_fail_after(allowed);
        status = ldnq_model_load(in_folder("m.onnx"), &model, &err);
        ldnq_alloc_fail_after(-1);
        assert_true(status == LDNQ_OK || !model);
    }
    assert_int_equal(status, LDNQ_OK);
    assert_true(allowed > 5);
    ldnq_model_destroy(model);
}

static void load_should_read_external_data(void **state)
{
    (void)state;
    struct ldnq_model *model;
    struct ldnq_arena *arena;
    struct ldnq_graph *graph;
    write_weights("w.bin");
    assert_ok(load_external("w.bin", "8", "48", &model));
    assert_ok(ldnq_arena_create(&arena, &err));
    assert_ok(ldnq_model_import(model, arena, &graph, &err));
    const float *w = ldnq_graph_find_value(graph, "w")->constant->data;
    assert_true(w[0] == 102 && w[11] == 113);
    ldnq_model_destroy(model);
    assert_ok(load_external("./w.bin", NULL, NULL, &model));
    ldnq_model_destroy(model);
    ldnq_arena_destroy(arena);
}

static void load_should_keep_external_data_below_the_folder(void **state)
{
    (void)state;
    struct ldnq_model *model;
    write_weights("w.bin");
    char up[128];
    snprintf(up, sizeof up, "../%s", strrchr(outside, '/') + 1);
    assert_fails(load_external(up, NULL, NULL, &model), LDNQ_MODEL, "not below the model's folder");
    assert_fails(load_external(outside, NULL, NULL, &model), LDNQ_MODEL, "not below");
    assert_fails(load_external("sub/../w.bin", NULL, NULL, &model), LDNQ_MODEL, "not below");
    assert_fails(load_external("..", NULL, NULL, &model), LDNQ_MODEL, "not below");
    unlink(in_folder("link"));
    assert_int_equal(symlink(outside, in_folder("link")), 0);
    assert_fails(load_external("link", NULL, NULL, &model), LDNQ_MODEL,
                 "'link' is a link out of the model's folder");
    unlink(in_folder("inner"));
    assert_int_equal(symlink("w.bin", in_folder("inner")), 0);
    assert_ok(load_external("inner", NULL, NULL, &model));
    ldnq_model_destroy(model);
}

static void make_link(const char *target, const char *name)
{
    unlink(in_folder(name));
    assert_int_equal(symlink(target, in_folder(name)), 0);
}

/* The layout of a cache by hash: m.onnx and w.bin in view/ are links into blobs/. */
static void load_should_follow_a_model_that_is_a_link(void **state)
{
    (void)state;
    struct ldnq_model *model;
    mkdir(in_folder("view"), 0777);
    mkdir(in_folder("blobs"), 0777);
    write_weights("blobs/b1");
    load_external("w.bin", NULL, NULL, &model);
    ldnq_model_destroy(model);
    char from[160];
    snprintf(from, sizeof from, "%s", in_folder("m.onnx"));
    assert_int_equal(rename(from, in_folder("blobs/b0")), 0);
    make_link("../blobs/b0", "view/m.onnx");
    make_link("../blobs/b1", "view/w.bin");
    assert_ok(ldnq_model_load(in_folder("view/m.onnx"), &model, &err));
    ldnq_model_destroy(model);
    make_link(outside, "view/w.bin");
    assert_fails(ldnq_model_load(in_folder("view/m.onnx"), &model, &err), LDNQ_MODEL,
                 "'w.bin' is a link out of the model's folder");
    unlink(in_folder("view/w.bin"));
    assert_fails(ldnq_model_load(in_folder("view/m.onnx"), &model, &err), LDNQ_IO,
                 "view/w.bin' can't be opened: No such file");
    write_weights("blobs/w.bin");
    assert_ok(ldnq_model_load(in_folder("view/m.onnx"), &model, &err));
    ldnq_model_destroy(model);
    /* A model that is no link has one folder: the same link is refused. */
    snprintf(from, sizeof from, "%s", in_folder("blobs/b0"));
    make_link("../blobs/b1", "view/w.bin");
    unlink(in_folder("view/m.onnx"));
    assert_int_equal(rename(from, in_folder("view/m.onnx")), 0);
    assert_fails(ldnq_model_load(in_folder("view/m.onnx"), &model, &err), LDNQ_MODEL,
                 "'w.bin' is a link out of the model's folder");
}

static void load_should_check_external_places(void **state)
{
    (void)state;
    struct ldnq_model *model;
    write_weights("w.bin");
    assert_fails(load_external("gone.bin", NULL, NULL, &model), LDNQ_IO, "gone.bin");
    assert_fails(load_external(".", NULL, NULL, &model), LDNQ_MODEL, "folder");
    assert_fails(load_external(NULL, NULL, NULL, &model), LDNQ_MODEL, "location is missing");
    assert_fails(load_external("w.bin", "17", NULL, &model), LDNQ_MODEL,
                 "bytes 17 to 65 of 'w.bin', which has only 64");
    assert_fails(load_external("w.bin", "-1", NULL, &model), LDNQ_MODEL, "usable offset");
    assert_fails(load_external("w.bin", "18446744073709551615", NULL, &model), LDNQ_MODEL,
                 "usable offset");
    assert_fails(load_external("w.bin", "0", "44", &model), LDNQ_MODEL, "needs 48 bytes");
    assert_fails(load_external("w.bin", "0x8", "48", &model), LDNQ_MODEL, "usable offset");
}

static void load_should_name_external_data_that_was_not_fetched(void **state)
{
    (void)state;
    struct ldnq_model *model;
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\n";
    assert_ok(ldnq_file_write(in_folder("w.bin"), pointer, sizeof pointer - 1, &err));
    assert_fails(load_external("w.bin", NULL, NULL, &model), LDNQ_MODEL,
                 "'w.bin' is a Git LFS pointer");
}

static void load_memory_should_refuse_external_data(void **state)
{
    (void)state;
    struct ldnq_model *model;
    struct make make = make_small(13);
    Onnx__TensorProto *w = make.graph->initializer[0];
    w->has_raw_data = 0;
    w->has_data_location = 1;
    w->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    make_append(&make, &w->external_data, &w->n_external_data,
                make_pair(&make, "location", "w.bin"));
    make_bytes(&make);
    assert_fails(ldnq_model_load_memory(make.bytes, make.size, "m.onnx", &model, &err),
                 LDNQ_UNSUPPORTED, "m.onnx: tensor 'w'");
    make_end(&make);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(load_should_give_the_facts_of_a_model),
        cmocka_unit_test(set_metadata_should_replace_and_add),
        cmocka_unit_test(load_should_refuse_what_is_not_a_model),
        cmocka_unit_test(load_should_name_files_of_other_formats),
        cmocka_unit_test(load_should_refuse_truncated_files),
        cmocka_unit_test(load_should_survive_flipped_bytes),
        cmocka_unit_test(load_should_refuse_deep_nesting),
        cmocka_unit_test(load_should_refuse_nul_in_names),
        cmocka_unit_test(load_should_refuse_two_graphs),
        cmocka_unit_test(load_should_free_everything_when_memory_is_out),
        cmocka_unit_test(load_should_read_external_data),
        cmocka_unit_test(load_of_external_data_should_report_failing_allocations),
        cmocka_unit_test(load_should_keep_external_data_below_the_folder),
        cmocka_unit_test(load_should_follow_a_model_that_is_a_link),
        cmocka_unit_test(load_should_check_external_places),
        cmocka_unit_test(load_should_name_external_data_that_was_not_fetched),
        cmocka_unit_test(load_memory_should_refuse_external_data),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
