/* Arrays: a .npy file, the members of a .npz file, or arrays in memory. */
#include "calib/source.h"

#include <inttypes.h>
#include <string.h>

#include "calib/folder.h"
#include "calib/npz.h"

struct array_source {
    struct ldnq_npz npz; /* the archive's arrays; for a .npy file its one array, without a name */
    struct ldnq_array **data; /* (inputs) */
    struct ldnq_shape *rows;  /* (inputs): the shape of one sample */
    const int64_t *labels;    /* (items) or NULL */
};

/* ---- opening --------------------------------------------------------------------- */

static enum ldnq_status create_array_source(struct ldnq_samples *samples, struct array_source **out,
                                            struct ldnq_error *err)
{
    struct array_source *arrays = ldnq_arena_alloc(samples->arena, 1, sizeof *arrays, err);
    if (!arrays)
        return LDNQ_NOMEM;
    arrays->data =
        ldnq_arena_alloc(samples->arena, samples->input_count, sizeof *arrays->data, err);
    arrays->rows =
        ldnq_arena_alloc(samples->arena, samples->input_count, sizeof *arrays->rows, err);
    samples->state = *out = arrays;
    return arrays->data && arrays->rows ? LDNQ_OK : LDNQ_NOMEM;
}

/* Counts the samples; every input's array must hold the same number. */
static enum ldnq_status count_array_samples(struct ldnq_samples *samples,
                                            const struct array_source *arrays,
                                            struct ldnq_error *err)
{
    bool has_elements = false;
    for (size_t i = 0; i < samples->input_count; i++) {
        const struct ldnq_array *array = arrays->data[i];
        size_t rows;
        LDNQ_TRY(ldnq_input_match_array(&samples->inputs[i], array->name, &array->shape, &rows,
                                        &arrays->rows[i], err));
        if (i == 0)
            samples->item_count = rows;
        if (rows != samples->item_count)
            return ldnq_fail(err, LDNQ_DATA, "%s: holds %zu samples where %s holds %zu",
                             array->name, rows, arrays->data[0]->name, samples->item_count);
        has_elements |= ldnq_sample_has_elements(&arrays->rows[i]);
    }
    if (!has_elements && samples->item_count > 1)
        return ldnq_fail(err, LDNQ_DATA, "%s: announces %zu samples and holds no elements",
                         arrays->data[0]->name, samples->item_count);
    return LDNQ_OK;
}

static bool detect_npy(const struct ldnq_probe *probe)
{
    bool magic = probe->magic_size >= LDNQ_NPY_MAGIC_SIZE &&
                 memcmp(probe->magic, LDNQ_NPY_MAGIC, LDNQ_NPY_MAGIC_SIZE) == 0;
    return !probe->is_folder && (magic || ldnq_name_ends(probe->path, ".npy"));
}

static enum ldnq_status open_npy(struct ldnq_samples *samples, struct ldnq_error *err)
{
    struct array_source *arrays;
    if (samples->input_count != 1)
        return ldnq_fail(err, LDNQ_DATA,
                         "%s: is one array, but the model has %zu inputs; give a .npz file with an "
                         "array for each",
                         samples->path, samples->input_count);
    LDNQ_TRY(create_array_source(samples, &arrays, err));
    arrays->npz.arrays = ldnq_arena_alloc(samples->arena, 1, sizeof *arrays->npz.arrays, err);
    if (!arrays->npz.arrays)
        return LDNQ_NOMEM;
    LDNQ_TRY(ldnq_array_open(samples->path, samples->arena, arrays->npz.arrays, err));
    arrays->npz.count = 1;
    arrays->data[0] = arrays->npz.arrays;
    return count_array_samples(samples, arrays, err);
}

/* ---- which array is what ----------------------------------------------------------- */

static bool is_label_name(const char *key)
{
    return strcmp(key, "labels") == 0 || strcmp(key, "label") == 0 || strcmp(key, "y") == 0;
}

static size_t find_input(const struct ldnq_samples *samples, const char *key)
{
    size_t i = 0;
    while (i < samples->input_count && strcmp(samples->inputs[i].name, key) != 0)
        i++;
    return i;
}

/* Finds each input's array; *labels is the array of classes, or NULL. */
static enum ldnq_status assign_arrays_to_inputs(struct ldnq_samples *samples,
                                                struct array_source *arrays,
                                                struct ldnq_array **labels, struct ldnq_error *err)
{
    struct ldnq_array *stray = NULL;
    size_t strays = 0;
    *labels = NULL;
    for (size_t k = 0; k < arrays->npz.count; k++) {
        struct ldnq_array *array = &arrays->npz.arrays[k];
        size_t i = find_input(samples, arrays->npz.keys[k]);
        if (i < samples->input_count) {
            arrays->data[i] = array;
        } else if (is_label_name(arrays->npz.keys[k])) {
            if (*labels)
                return ldnq_fail(err, LDNQ_DATA, "%s: may be the classes, and so may %s",
                                 array->name, (*labels)->name);
            *labels = array;
        } else {
            stray = array;
            strays++;
        }
    }
    if (strays == 1 && samples->input_count == 1 && !arrays->data[0]) {
        arrays->data[0] = stray;
        strays = 0;
    }
    if (strays)
        return ldnq_fail(err, LDNQ_DATA, "%s: the model has no input of that name", stray->name);
    return LDNQ_OK;
}

static enum ldnq_status refuse_missing(const struct ldnq_samples *samples,
                                       const struct array_source *arrays, struct ldnq_error *err)
{
    for (size_t i = 0; i < samples->input_count; i++)
        if (!arrays->data[i])
            return ldnq_fail(err, LDNQ_DATA, "%s: has no array for input '%s'", samples->path,
                             samples->inputs[i].name);
    return LDNQ_OK;
}

/* Reads integer labels of shape (S) or (S,1). */
static enum ldnq_status read_labels(struct ldnq_samples *samples, struct array_source *arrays,
                                    const struct ldnq_array *array, struct ldnq_error *err)
{
    const struct ldnq_shape *shape = &array->shape;
    struct ldnq_tensor *raw;
    const struct ldnq_tensor *labels;
    bool column = shape->rank == 1 || (shape->rank == 2 && shape->dim[1] == 1);
    if (!column || (uint64_t)shape->dim[0] != samples->item_count ||
        !ldnq_dtype_is_integer(array->dtype)) {
        char text[LDNQ_SHAPE_TEXT];
        return ldnq_fail(err, LDNQ_DATA, "%s: is %s %s where %zu integers are wanted, one a sample",
                         array->name, ldnq_shape_print(shape, NULL, text, sizeof text),
                         ldnq_dtype_name(array->dtype), samples->item_count);
    }
    LDNQ_TRY(ldnq_array_slice(array, 0, shape, samples->arena, &raw, err));
    LDNQ_TRY(ldnq_tensor_convert(raw, LDNQ_INT64, samples->arena, &labels, err));
    arrays->labels = labels->data;
    for (size_t i = 0; i < samples->item_count; i++)
        if (arrays->labels[i] < 0)
            return ldnq_fail(err, LDNQ_DATA, "%s: %" PRId64 " at element %zu is not a class",
                             array->name, arrays->labels[i], i);
    samples->has_labels = true;
    return LDNQ_OK;
}

static bool detect_npz(const struct ldnq_probe *probe)
{
    bool magic = probe->magic_size >= 4 && (memcmp(probe->magic, "PK\x03\x04", 4) == 0 ||
                                            memcmp(probe->magic, "PK\x05\x06", 4) == 0);
    return !probe->is_folder && (magic || ldnq_name_ends(probe->path, ".npz"));
}

/* Finds out which array belongs to which input. */
static enum ldnq_status open_named_arrays(struct ldnq_samples *samples, struct array_source *arrays,
                                          struct ldnq_error *err)
{
    struct ldnq_array *labels;
    LDNQ_TRY(assign_arrays_to_inputs(samples, arrays, &labels, err));
    LDNQ_TRY(refuse_missing(samples, arrays, err));
    LDNQ_TRY(count_array_samples(samples, arrays, err));
    return labels && samples->options.need_labels ? read_labels(samples, arrays, labels, err)
                                                  : LDNQ_OK;
}

static enum ldnq_status open_npz(struct ldnq_samples *samples, struct ldnq_error *err)
{
    struct array_source *arrays;
    LDNQ_TRY(create_array_source(samples, &arrays, err));
    LDNQ_TRY(ldnq_npz_open(samples->path, samples->arena, &arrays->npz, err));
    return open_named_arrays(samples, arrays, err);
}

static enum ldnq_status open_memory_arrays(struct ldnq_samples *samples, struct ldnq_error *err)
{
    const struct ldnq_samples_memory *memory = samples->memory;
    struct array_source *arrays;
    LDNQ_TRY(create_array_source(samples, &arrays, err));
    struct ldnq_npz *npz = &arrays->npz;
    npz->arrays = ldnq_arena_alloc(samples->arena, memory->array_count, sizeof *npz->arrays, err);
    npz->keys = ldnq_arena_alloc(samples->arena, memory->array_count, sizeof *npz->keys, err);
    if (!npz->arrays || !npz->keys)
        return LDNQ_NOMEM;
    for (size_t i = 0; i < memory->array_count; i++) {
        const struct ldnq_memory_array *from = &memory->arrays[i];
        const char *name = ldnq_arena_printf(samples->arena, err, "%s[%s]", samples->path,
                                             *from->input ? from->input : "array");
        if (!name)
            return LDNQ_NOMEM;
        npz->keys[i] = from->input;
        npz->arrays[npz->count++] = (struct ldnq_array){
            .name = name,
            .dtype = from->tensor.dtype,
            .shape = from->tensor.shape,
            .data = from->tensor.data,
            .fd = -1,
        };
    }
    return open_named_arrays(samples, arrays, err);
}

/* ---- the sources ------------------------------------------------------------------- */

static void close_arrays(struct ldnq_samples *samples)
{
    ldnq_npz_close(&((struct array_source *)samples->state)->npz);
}

static const char *make_array_sample_name(struct ldnq_samples *samples, size_t item,
                                          struct ldnq_error *err)
{
    return ldnq_arena_printf(samples->arena, err, "%s[%zu]", samples->path, item);
}

static const char *find_array_sample_path(const struct ldnq_samples *samples, size_t item,
                                          size_t input)
{
    (void)item;
    (void)input;
    return samples->memory ? NULL : samples->path;
}

/* The file stays open: it can change, but not vanish. */
static enum ldnq_sample_storage examine_npy(const struct ldnq_samples *samples, size_t item,
                                            size_t input, struct stat *info)
{
    const struct ldnq_array *array = ((const struct array_source *)samples->state)->data[input];
    (void)item;
    return !array->data && fstat(array->fd, info) == 0 ? LDNQ_SAMPLE_READ_AGAIN : LDNQ_SAMPLE_HELD;
}

static int64_t find_array_sample_label(const struct ldnq_samples *samples, size_t item)
{
    return ((const struct array_source *)samples->state)->labels[item];
}

static enum ldnq_status read_array_sample(const struct ldnq_samples *samples, size_t item,
                                          size_t input, struct ldnq_arena *arena,
                                          const struct ldnq_tensor **out, struct ldnq_error *err)
{
    const struct array_source *arrays = samples->state;
    const struct ldnq_shape *row = &arrays->rows[input];
    struct ldnq_tensor *tensor;
    size_t count = 0;
    ldnq_shape_count(row, &count); /* part of a checked size */
    LDNQ_TRY(ldnq_array_slice(arrays->data[input], item * count, row, arena, &tensor, err));
    *out = tensor;
    return LDNQ_OK;
}

static enum ldnq_status hash_array_sample(const struct ldnq_samples *samples, size_t item,
                                          struct ldnq_arena *arena, XXH3_state_t *state,
                                          struct ldnq_error *err)
{
    for (size_t i = 0; i < samples->input_count; i++) {
        const struct ldnq_tensor *tensor;
        LDNQ_TRY(read_array_sample(samples, item, i, arena, &tensor, err));
        ldnq_hash_tensor(state, tensor);
    }
    return LDNQ_OK;
}

const struct ldnq_source ldnq_source_npy = {
    .stage = "",
    .advice = "",
    .detect = detect_npy,
    .open = open_npy,
    .close = close_arrays,
    .name = make_array_sample_name,
    .label = find_array_sample_label,
    .path = find_array_sample_path,
    .examine = examine_npy,
    .read = read_array_sample,
    .hash = hash_array_sample,
};

const struct ldnq_source ldnq_source_npz = {
    .stage = "",
    .advice = "",
    .detect = detect_npz,
    .open = open_npz,
    .close = close_arrays,
    .name = make_array_sample_name,
    .label = find_array_sample_label,
    .path = find_array_sample_path,
    .read = read_array_sample,
    .hash = hash_array_sample,
};

const struct ldnq_source ldnq_source_memory = {
    .stage = "",
    .advice = "",
    .open = open_memory_arrays,
    .close = close_arrays,
    .name = make_array_sample_name,
    .label = find_array_sample_label,
    .path = find_array_sample_path,
    .read = read_array_sample,
    .hash = hash_array_sample,
};
