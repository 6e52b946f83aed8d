# SPDX-License-Identifier: Apache-2.0
"""proto/onnx.proto declares what the installed onnx package declares: no less, no more.

protoc-c compiles our file to a descriptor, and onnx carries its own. Both are
turned into a table of facts, {type: {item: {aspect: value}}}, and the tables
are compared in both directions. What does not reach the wire or the generated
C is left out: comments, the order of fields, json names, file options.

The last tests damage a descriptor on purpose, to show that the comparison sees it.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")
from google.protobuf import descriptor_pb2  # noqa: E402
from onnx import onnx_ml_pb2  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto" / "onnx.proto"
ITSELF = "(itself)"


# ---- a descriptor as a table of facts


def field_facts(message, field):
    in_oneof = field.HasField("oneof_index")
    options = descriptor_pb2.FieldOptions()
    options.CopyFrom(field.options)
    options.ClearField("packed")
    return {
        "number": field.number,
        "label": field.Label.Name(field.label),
        "type": field.Type.Name(field.type),
        "type_name": field.type_name,
        "packed": field.options.packed,
        "oneof": message.oneof_decl[field.oneof_index].name if in_oneof else None,
        "default": field.default_value if field.HasField("default_value") else None,
        "proto3_optional": field.proto3_optional,
        "other options": str(options),
    }


def message_facts(message):
    ranges = [range(r.start, r.end) for r in message.reserved_range]
    itself = {
        "kind": "message",
        "oneofs": sorted(oneof.name for oneof in message.oneof_decl),
        "reserved numbers": sorted(n for r in ranges for n in r),
        "reserved names": sorted(message.reserved_name),
        "extensions": str([*message.extension_range, *message.extension]),
        "options": str(message.options),
    }
    return {ITSELF: itself} | {f.name: field_facts(message, f) for f in message.field}


def enum_facts(enum):
    itself = {
        "kind": "enum",
        "value when absent": enum.value[0].name,  # proto2: the first one declared
        "reserved": str([*enum.reserved_range, *sorted(enum.reserved_name)]),
        "options": str(enum.options),
    }
    values = {v.name: {"number": v.number, "options": str(v.options)} for v in enum.value}
    return {ITSELF: itself} | values


def walk(scope, holder, messages):
    """The facts of each type under `holder`, a file or a message, by full name."""
    table = {f"{scope}.{enum.name}": enum_facts(enum) for enum in holder.enum_type}
    for message in messages:
        name = f"{scope}.{message.name}"
        table[name] = message_facts(message)
        table |= walk(name, message, message.nested_type)
    return table


def schema(file):
    return walk(file.package, file, file.message_type)


def file_facts(file):
    return {
        "package": file.package,
        "syntax": file.syntax or "proto2",
        "dependencies": list(file.dependency),
        "services": [s.name for s in file.service],
        "extensions": [e.name for e in file.extension],
    }


def compare_items(where, ours, theirs):
    """What differs between two tables {item: {aspect: value}}, a line each."""
    lines = [f"{where}: {item} is missing" for item in theirs if item not in ours]
    lines += [f"{where}: {item} is not in onnx" for item in ours if item not in theirs]
    for item in (i for i in theirs if i in ours):
        for aspect in theirs[item].keys() | ours[item].keys():
            a, b = ours[item].get(aspect), theirs[item].get(aspect)
            if a != b:
                lines.append(f"{where}: {item}: {aspect} is {a!r}, in onnx {b!r}")
    return sorted(lines)


def compare_names(ours, theirs):
    lines = [f"{name} is missing" for name in theirs if name not in ours]
    return sorted(lines + [f"{name} is not in onnx" for name in ours if name not in theirs])


def compare(ours, theirs):
    lines = compare_names(ours, theirs)
    for name in (n for n in theirs if n in ours):
        lines += compare_items(name, ours[name], theirs[name])
    return lines


# ---- the two descriptors


def onnx_file():
    file = descriptor_pb2.FileDescriptorProto()
    onnx_ml_pb2.DESCRIPTOR.CopyToProto(file)
    return file


def compile_proto(proto, directory):
    compiler = shutil.which("protoc-c")
    if compiler is None:
        pytest.skip("protoc-c is not on PATH (Debian: protobuf-c-compiler)")
    out = directory / "onnx.desc"
    command = [compiler, f"--descriptor_set_out={out}", f"--proto_path={proto.parent}", str(proto)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    return file


@pytest.fixture(scope="module")
def our_file(tmp_path_factory):
    return compile_proto(PROTO, tmp_path_factory.mktemp("schema"))


@pytest.fixture(scope="module")
def ours(our_file):
    return schema(our_file)


THEIRS = schema(onnx_file())


def fail_on(lines):
    if lines:
        head = f"proto/onnx.proto differs from onnx {onnx.__version__} ({len(lines)}):"
        pytest.fail("\n  ".join([head, *lines]), pytrace=False)


# ---- ours is theirs


def test_file_should_have_onnxs_package_and_syntax(our_file):
    assert file_facts(our_file) == file_facts(onnx_file())


def test_schema_should_declare_every_type_of_onnx_and_no_other(ours):
    fail_on(compare_names(ours, THEIRS))


@pytest.mark.parametrize("name", THEIRS)
def test_type_should_equal_onnxs(ours, name):
    fail_on(compare_items(name, ours.get(name, {}), THEIRS[name]))


def test_newest_ir_version_should_be_the_one_onnx_writes(ours):
    assert ours["onnx.Version"]["IR_VERSION"]["number"] == onnx.IR_VERSION


# ---- the comparison sees what it should


def test_walk_should_reach_every_type_field_and_value():
    """The table against the text of the descriptor, which knows nothing of our walk."""
    text = [line.split() for line in str(onnx_file()).splitlines()]
    opened = [words[0] for words in text if words[-1:] == ["{"]]
    messages = [items for items in THEIRS.values() if items[ITSELF]["kind"] == "message"]
    enums = [items for items in THEIRS.values() if items[ITSELF]["kind"] == "enum"]
    assert len(messages) == opened.count("message_type") + opened.count("nested_type") > 0
    assert len(enums) == opened.count("enum_type") > 0
    assert sum(len(items) - 1 for items in messages) == opened.count("field") > 0
    assert sum(len(items) - 1 for items in enums) == opened.count("value") > 0


def find(holder, *path):
    """The message, field, enum or value at `path` below a file or a message."""
    lists = ("message_type", "nested_type", "enum_type", "field", "value")
    for name in path:
        held = [item for attr in lists for item in getattr(holder, attr, ())]
        (holder,) = [item for item in held if item.name == name]
    return holder


def renumber_field(file):
    find(file, "TensorProto", "raw_data").number = 15


def retype_field(file):
    find(file, "AttributeProto", "i").type = descriptor_pb2.FieldDescriptorProto.TYPE_INT32


def point_field_elsewhere(file):
    find(file, "GraphProto", "input").type_name = ".onnx.TensorProto"


def make_field_repeated(file):
    find(file, "NodeProto", "domain").label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED


def pack_field(file):
    find(file, "TensorProto", "dims").options.packed = True


def unpack_field(file):
    find(file, "TensorProto", "float_data").options.packed = False


def give_field_a_default(file):
    find(file, "ModelProto", "ir_version").default_value = "13"


def deprecate_field(file):
    find(file, "ModelProto", "domain").options.deprecated = True


def take_field_out_of_oneof(file):
    find(file, "TypeProto", "opaque_type").ClearField("oneof_index")


def rename_oneof(file):
    find(file, "TensorShapeProto", "Dimension").oneof_decl[0].name = "size"


def rename_field(file):
    find(file, "NodeProto", "op_type").name = "operator"


def drop_nested_field(file):
    del find(file, "TensorProto", "Segment").field[0]


def drop_nested_message(file):
    del find(file, "TypeProto").nested_type[0]


def drop_message(file):
    del file.message_type[-1]


def drop_enum(file):
    del find(file, "TensorProto").enum_type[1]


def drop_enum_value(file):
    del find(file, "TensorProto", "DataType").value[-1]


def renumber_enum_value(file):
    find(file, "Version", "IR_VERSION").number = 14


def reorder_enum(file):
    values = find(file, "TensorProto", "DataLocation").value
    values.append(values.pop(0))


def unreserve_number(file):
    del find(file, "AttributeProto").reserved_range[0]


def unreserve_name(file):
    del find(file, "FunctionProto").reserved_name[0]


# Each damage, and how many lines it takes to tell.
DAMAGES = {
    renumber_field: 1,
    retype_field: 1,
    point_field_elsewhere: 1,
    make_field_repeated: 1,
    pack_field: 1,
    unpack_field: 1,
    give_field_a_default: 1,
    deprecate_field: 1,
    take_field_out_of_oneof: 1,
    rename_oneof: 3,  # the oneof, and two members
    rename_field: 2,  # one missing, one extra
    drop_nested_field: 1,
    drop_nested_message: 1,
    drop_message: 1,
    drop_enum: 1,
    drop_enum_value: 1,
    renumber_enum_value: 1,
    reorder_enum: 1,
    unreserve_number: 1,
    unreserve_name: 1,
}


def test_comparison_should_find_equal_schemas_equal():
    assert compare(schema(onnx_file()), THEIRS) == []


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_comparison_should_see_damage_on_either_side(damage):
    file = onnx_file()
    damage(file)
    damaged = schema(file)
    assert len(compare(damaged, THEIRS)) == DAMAGES[damage]
    assert len(compare(THEIRS, damaged)) == DAMAGES[damage]


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ("ir_version = 1;", "ir_version = 27;",
         "onnx.ModelProto: ir_version: number is 27, in onnx 1"),
        ("        INT2 = 26;\n", "", "onnx.TensorProto.DataType: INT2 is missing"),
        ("optional bytes raw_data = 9;", "optional string raw_data = 9;",
         "onnx.TensorProto: raw_data: type is 'TYPE_STRING', in onnx 'TYPE_BYTES'"),
        ("repeated int64 dims = 1;", "optional int64 extra = 99; repeated int64 dims = 1;",
         "onnx.TensorProto: extra is not in onnx"),
        ("message TypeProto {", "message More {} message TypeProto {", "onnx.More is not in onnx"),
    ],
    ids=["number", "missing value", "type", "extra field", "extra message"],
)  # fmt: skip
def test_edited_proto_should_be_told_in_one_line(tmp_path, ours, before, after, line):
    text = PROTO.read_text(encoding="utf-8")
    assert text.count(before) == 1
    edited = tmp_path / "onnx.proto"
    edited.write_text(text.replace(before, after), encoding="utf-8")
    unedited = compare(ours, THEIRS)  # empty, unless another test fails
    lines = compare(schema(compile_proto(edited, tmp_path)), THEIRS)
    assert [told for told in lines if told not in unedited] == [line]
