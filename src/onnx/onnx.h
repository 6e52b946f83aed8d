/* SPDX-License-Identifier: Apache-2.0 */
/* onnx.h: load and save a model, and import its graph.
 *
 * The loaded ModelProto is never rebuilt: ldnq_model_import makes a graph to compute
 * with, the emitter patches the model, and ldnq_model_save writes it with everything
 * that ldnq does not know still in it.
 */
#ifndef LDNQ_ONNX_H
#define LDNQ_ONNX_H

#include "ir/ir.h"

struct ldnq_model;

/* Reads a file, and its external data from files below the model's folder. Tensors and
 * edges are checked later, by ldnq_model_import.
 * Errors: IO, MODEL (empty, truncated, not ONNX, nested too deep, external data outside
 * the folder or of a wrong size), NOMEM. The caller destroys it; destroy accepts NULL. */
enum ldnq_status ldnq_model_load(const char *path, struct ldnq_model **out, struct ldnq_error *err);
/* The same from memory (not kept); `name` is for messages. UNSUPPORTED with
 * external data, as there is no folder. */
enum ldnq_status ldnq_model_load_memory(const void *bytes, size_t size, const char *name,
                                        struct ldnq_model **out, struct ldnq_error *err);
void ldnq_model_destroy(struct ldnq_model *model);

/* The model's graph; opsets LDNQ_OPSET_FIRST to LDNQ_OPSET_LATEST of ai.onnx, any
 * version of other domains. Constant nodes and initializers become constants;
 * initializers that are also graph inputs (IR 3) count as initializers; those of
 * strings are constants without data. The graph lives in `arena` and points into the
 * model, which must outlive it; edits of the model do not change the graph.
 * Errors: MODEL (an input without a producer, a name with two, a cycle, a tensor of a
 * wrong size), UNSUPPORTED (opset), NOMEM. */
enum ldnq_status ldnq_model_import(const struct ldnq_model *model, struct ldnq_arena *arena,
                                   struct ldnq_graph **out, struct ldnq_error *err);

/* What becomes of operators that are not ONNX's own, or compute with codes. */
enum ldnq_operator_form {
    LDNQ_FORM_COMPUTED, /* those that ONNX Runtime contributes become functions of ONNX's */
    LDNQ_FORM_PAIRS,    /* so do ONNX's integer operators: as Q/DQ pairs around float ones */
    LDNQ_FORM_FILE,     /* they stay as the file has them */
};

/* ldnq_model_import, which is LDNQ_FORM_COMPUTED, with another form. */
enum ldnq_status ldnq_model_import_as(const struct ldnq_model *model, enum ldnq_operator_form form,
                                      struct ldnq_arena *arena, struct ldnq_graph **out,
                                      struct ldnq_error *err);

/* Writes to a temporary file beside `path` and renames it. Tensors of 1 KB and more that came
 * from external data go to PATH.HASH.data beside it, where HASH is that of the data; the others,
 * and all for a device, go into the model. The data file that an earlier model of this path
 * referred to by such a name is removed after the rename, unless `model` was read from it.
 * Errors: IO, UNSUPPORTED (above 2 GB), NOMEM; nothing is left behind. */
enum ldnq_status ldnq_model_save(const struct ldnq_model *model, const char *path,
                                 struct ldnq_error *err);
/* The same in two steps, for a job that has more to write: create writes the files whole under
 * temporary names, commit renames them, destroy removes what was not committed and accepts NULL.
 * The model may change or go between them. `size` is that of the model and its data file, and 0 for
 * a device, which is written to by create; `data_size` is the data file's. */
struct ldnq_model_writer;
/* The bytes of ".HASH.data". */
#define LDNQ_DATA_SUFFIX_LENGTH 22
enum ldnq_status ldnq_model_writer_create(const struct ldnq_model *model, const char *path,
                                          struct ldnq_model_writer **out, struct ldnq_error *err);
size_t ldnq_model_writer_size(const struct ldnq_model_writer *writer);
size_t ldnq_model_writer_data_size(const struct ldnq_model_writer *writer);
enum ldnq_status ldnq_model_writer_commit(struct ldnq_model_writer *writer, struct ldnq_error *err);
void ldnq_model_writer_destroy(struct ldnq_model_writer *writer);
/* The model as bytes in memory, with external data included. The caller releases it with
 * ldnq_model_free_bytes. */
enum ldnq_status ldnq_model_pack(const struct ldnq_model *model, void **bytes, size_t *size,
                                 struct ldnq_error *err);
void ldnq_model_free_bytes(void *bytes);

/* The path it was loaded from, its size in bytes including external data, the part of them that is
 * external data, and an xxh3 hash of its contents. */
const char *ldnq_model_path(const struct ldnq_model *model);
size_t ldnq_model_bytes(const struct ldnq_model *model);
size_t ldnq_model_data_bytes(const struct ldnq_model *model);
/* The resolved paths of the external data that were read; NULL beyond the last. */
const char *ldnq_model_data_file(const struct ldnq_model *model, size_t index);
/* Data that are added beyond these bytes are in temporary files, as ldnq_arena_limit_memory has
 * it. */
void ldnq_model_limit_memory(struct ldnq_model *model, size_t bytes);
uint64_t ldnq_model_hash(const struct ldnq_model *model);
/* The name of the graph's input with this index, those with an initializer included; NULL beyond
 * the last. */
const char *ldnq_model_input_name(const struct ldnq_model *model, size_t index);
bool ldnq_model_has_initializer(const struct ldnq_model *model, const char *name);
int64_t ldnq_model_ir_version(const struct ldnq_model *model);
const char *ldnq_model_producer(const struct ldnq_model *model);
/* The model's opset of ai.onnx. */
int ldnq_model_opset(const struct ldnq_model *model);
/* Nodes of the main graph. */
size_t ldnq_model_node_count(const struct ldnq_model *model);
/* Whether the main graph has a node of this operator, of any domain. */
bool ldnq_model_has_operator(const struct ldnq_model *model, const char *op_type);

/* Whether a node computes in float16 or bfloat16: it casts to such a type, or reads a tensor of it
 * and is no Cast. Errors: NOMEM. */
enum ldnq_status ldnq_model_find_halves(const struct ldnq_model *model, bool *found,
                                        struct ldnq_error *err);

/* Entries of metadata_props: NULL for a missing key; set adds or replaces. */
const char *ldnq_model_metadata(const struct ldnq_model *model, const char *key);
enum ldnq_status ldnq_model_set_metadata(struct ldnq_model *model, const char *key,
                                         const char *value, struct ldnq_error *err);

/* One serialized TensorProto, as in ONNX's test data (.pb files), decoded into
 * the arena. *name is "" when it has none. Errors: MODEL, NOMEM. */
enum ldnq_status ldnq_tensorproto_decode(const void *bytes, size_t size, struct ldnq_arena *arena,
                                         struct ldnq_tensor **out, const char **name,
                                         struct ldnq_error *err);

#endif
