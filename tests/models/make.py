"""Writes the tiny models of tests/it/infer.rs. Needs `onnx` and `numpy`; run it only to change them.

They "detect" colours: a place's scores for red, green and blue are the means of the three channels over its cell, and
its box is the cell. Outputs are laid out as YOLOv8's: [N, 4 + 3, places], strides 8, 16, 32 over 64 x 64.
"""
import pathlib

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

SIZE = 64
STRIDES = (8, 16, 32)
PLACES = sum((SIZE // s) ** 2 for s in STRIDES)
NAMES = "{0: 'red', 1: 'green', 2: 'blue'}"


def cells():
    """Centre x, centre y, width, height of every cell: [1, 4, places]."""
    columns = []
    for s in STRIDES:
        for y in range(SIZE // s):
            for x in range(SIZE // s):
                columns.append(((x + 0.5) * s, (y + 0.5) * s, s, s))
    return np.array(columns, np.float32).T[None]


def colours(name, batch="N", side=SIZE, half=False, spoil=None, metadata=True, inner=0, second=False):
    kind, number = (TensorProto.FLOAT16, np.float16) if half else (TensorProto.FLOAT, np.float32)
    constants = {
        "cells": cells().astype(number),
        "nothing": np.array(0, number),
        "flat": np.array([inner, 3, -1], np.int64),
        "two": np.array(2, number),
        "hundred": np.array(100, number),
        "backwards": np.array([2, 1, 0], np.int64),
    }
    nodes = []
    for s in STRIDES:
        nodes.append(helper.make_node("AveragePool", ["images"], [f"pool{s}"], kernel_shape=[s, s], strides=[s, s]))
        nodes.append(helper.make_node("Reshape", [f"pool{s}", "flat"], [f"flat{s}"]))
    nodes.append(helper.make_node("Concat", [f"flat{s}" for s in STRIDES], ["means"], axis=2))
    nodes += [
        helper.make_node("ReduceMean", ["means"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "nothing"], ["zeros"]),
        helper.make_node("Add", ["zeros", "cells"], ["boxes"]),
    ]
    scores = "means"
    if spoil == "nan":
        nodes += [helper.make_node("Sub", ["means", "two"], ["negative"]), helper.make_node("Sqrt", ["negative"], ["nan"])]
        scores = "nan"
    elif spoil == "logits":
        nodes.append(helper.make_node("Mul", ["means", "hundred"], ["logits"]))
        scores = "logits"
    outputs = ["output0"]
    nodes.append(helper.make_node("Concat", ["boxes", scores], ["output0"], axis=1))
    if second:
        # The same boxes with the classes in the other order.
        nodes.append(helper.make_node("Gather", ["means", "backwards"], ["snaem"], axis=1))
        nodes.append(helper.make_node("Concat", ["boxes", "snaem"], ["output1"], axis=1))
        outputs.append("output1")
    used = {i for node in nodes for i in node.input}
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("images", kind, [batch, 3, side, side])],
        [helper.make_tensor_value_info(output, kind, [batch, 7, PLACES]) for output in outputs],
        [numpy_helper.from_array(v, k) for k, v in constants.items() if k in used],
    )
    write(name, graph, {"names": NAMES, "task": "detect"} if metadata else {})


def classifier():
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["images"], ["classes"], axes=[2, 3], keepdims=0)],
        "classifier",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("classes", TensorProto.FLOAT, [1, 3])],
    )
    write("classifier", graph, {})


def write(name, graph, metadata):
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="dsengine tests")
    model.ir_version = 8
    helper.set_model_props(model, metadata)
    checker.check_model(model)
    save(model, pathlib.Path(__file__).with_name(f"{name}.onnx"))


colours("colours")
colours("colours_fp16", half=True)
colours("colours_batch4", batch=4, metadata=False)
colours("colours_pretend", inner=1)
colours("colours_open", side="side")
colours("colours_nan", spoil="nan")
colours("colours_logits", spoil="logits")
colours("colours_twice", second=True)
classifier()
