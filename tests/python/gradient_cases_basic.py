# SPDX-License-Identifier: Apache-2.0
"""Relu, and the arithmetic that broadcasts."""

from gradients import Case, away, node, normal

# Every way to broadcast: rows, columns, both sides, scalars, all axes, missing axes,
# axes in the middle, a long sum, nothing.
SHAPES = [
    ((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 3), (2, 1)), ((3, 1), (1, 4)), ((2, 3), ()),
    ((1, 1), (5,)), ((2, 3, 4), (3, 1)), ((2, 3, 4), (1, 3, 1)), ((2, 3, 4), (2, 1, 4)),
    ((4, 1, 3, 1), (5, 1, 2)), ((300, 7), (7,)), ((7, 300), (7, 1)), ((2, 600), (600,)),
    ((), ()), ((0, 3), (3,)), ((40, 30, 20), (30, 1)),
]



def named(shape):
    return "x".join(map(str, shape)) or "scalar"


CASES = [
    Case("Relu", node("Relu", "x"), {"x": away(3, 5)}),
    Case("Relu scalar", node("Relu", "x"), {"x": away()}),
    Case("Relu empty", node("Relu", "x"), {"x": normal(0, 3)}),
    Case("Relu long", node("Relu", "x"), {"x": away(50000)}),
    Case("Mul of one value", node("Mul", "x x"), {"x": normal(2, 3)}),
    Case("Add of one value", node("Add", "x x"), {"x": normal(2, 3)}),
    Case("a value read three times", [node("Relu", "x", "r"), node("Mul", "r x", "m"),
                                      node("Add", "m x", "y")], {"x": away(2, 3)}),
    Case("two outputs", [node("Mul", "a b", "m"), node("Relu", "m", "y"), node("Sub", "y a", "z")],
         {"a": away(2, 3), "b": away(3, seed=1)}, outputs=["y", "z"]),
    Case("by weights", [node("Mul", "x w", "m"), node("Add", "m b", "y")], {"x": normal(4, 3)},
         {"w": normal(4, 1, seed=1), "b": normal(3, seed=2)}, requested=["x", "w", "b"]),
    *(Case(f"{op} {named(a)} and {named(b)}", node(op, "a b"), {"a": normal(*a), "b": normal(*b, seed=1)})
      for op in ("Add", "Sub", "Mul") for a, b in SHAPES),
    *(Case(f"Mul {named(b)} and {named(a)}", node("Mul", "b a"), {"a": normal(*a), "b": normal(*b, seed=1)})
      for a, b in SHAPES[1:8]),
]
