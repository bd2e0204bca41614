"""Reads an ONNX file safely and makes it fast and loadable for ONNX Runtime on a CPU."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.external_data_helper import load_external_data_for_model

from pipeline.errors import WeightsError

Array = NDArray[np.generic]


def read_model(path: Path) -> onnx.ModelProto:
    """Read a model with its external data, which must lie in the model's folder.

    Raises:
        WeightsError: not ONNX, damaged, or it points outside its folder.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist") from error
    except Exception as error:  # protobuf raises several unrelated types on damaged bytes
        raise WeightsError(f"{path} is not an ONNX model: {error}") from error
    if not model.graph.node:
        raise WeightsError(f"{path} is not an ONNX model: it has no graph")
    folder = path.resolve().parent
    for tensor in _tensors(model):
        for entry in tensor.external_data:
            inside = (folder / entry.value).resolve().is_relative_to(folder)
            if entry.key == "location" and not inside:
                raise WeightsError(
                    f"{path}: tensor {tensor.name!r} reads {entry.value!r}, outside the folder of "
                    "the model; that is refused"
                )
    try:
        load_external_data_for_model(model, str(folder))
    except Exception as error:  # onnx raises its own C++ types here
        raise WeightsError(f"{path}: cannot read its external data: {error}") from error
    return model


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor of the model, those in attributes and subgraphs too."""
    graphs = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes += graph.node
            continue
        for attribute in nodes.pop().attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            graphs += [attribute.g, *attribute.graphs]


def simplify(
    model: onnx.ModelProto, free_batch: bool = False, cheap_prelu: bool = True
) -> onnx.ModelProto:
    """Return the same function with constants computed, PReLU cheap, and only live inputs.

    Args:
        model: stays as it is.
        free_batch: let the first axis of input and output vary; whether the graph bears that
            must be tried.
        cheap_prelu: write PReLU as ONNX Runtime runs it fastest.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        folded = _fold(node, constants)
        if folded is not None:
            constants[node.output[0]] = numpy_helper.from_array(folded, node.output[0])
        else:
            nodes += _cheap_prelu(node, constants) if cheap_prelu else [node]
    used = {name for node in nodes for name in node.input} | _captured(nodes)
    inputs = [value for value in graph.input if value.name in used - constants.keys()]
    # a folded value may be the graph's output itself
    used |= {value.name for value in graph.output}
    for field, kept in (
        (graph.node, nodes),
        (graph.input, inputs),
        (graph.initializer, [tensor for name, tensor in constants.items() if name in used]),
    ):
        del field[:]
        field.extend(kept)
    if free_batch:
        del graph.value_info[:]  # they repeat the fixed batch
        for value in (*graph.input, *graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "N"
    return result


def _captured(nodes: list[onnx.NodeProto]) -> set[str]:
    """Names that subgraphs (If, Loop) take from the graph around them."""
    graphs = [g for node in nodes for a in node.attribute for g in (a.g, *a.graphs)]
    inner = [node for graph in graphs for node in graph.node]
    if not inner:
        return set()
    outputs = {value.name for graph in graphs for value in graph.output}
    return {name for node in inner for name in node.input} | outputs | _captured(inner)


def _fold(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> Array | None:
    """Return the value of a weight's DequantizeLinear or Reshape, None for other nodes.

    ONNX Runtime computes them at every call otherwise: half the time of SFace.
    """
    if node.op_type not in {"DequantizeLinear", "Reshape"} or node.domain not in {"", "ai.onnx"}:
        return None
    if not all(name in constants for name in node.input if name):
        return None
    values = [numpy_helper.to_array(constants[name]) for name in node.input if name]
    options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "DequantizeLinear":
        plain = all(value.dtype.kind in "iuf" for value in values)  # not float8 or int4
        return _dequantise(values, options) if plain else None
    if options.get("allowzero"):
        return None
    data, shape = values
    sizes = [data.shape[i] if size == 0 else int(size) for i, size in enumerate(shape.tolist())]
    reshaped: Array = data.reshape(sizes)
    return reshaped


def _dequantise(values: list[Array], options: dict[str, int]) -> NDArray[np.float32]:
    """(x - zero) * scale; ONNX operator DequantizeLinear-21: a tensor, an axis, or blocks."""
    data = values[0].astype(np.float32)
    axis, block = options.get("axis", 1), options.get("block_size", 0)

    def spread(parameter: Array) -> NDArray[np.float32]:
        small = parameter.astype(np.float32)
        if block:
            length = data.shape[axis]
            wide: NDArray[np.float32] = np.repeat(small, block, axis=axis)
            return np.take(wide, np.arange(length), axis=axis)
        if small.size == 1:
            return small.reshape(())
        return small.reshape([-1 if i == axis % data.ndim else 1 for i in range(data.ndim)])

    zero = spread(values[2]) if len(values) > 2 else np.float32(0)
    return (data - zero) * spread(values[1])


def _cheap_prelu(
    node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]
) -> list[onnx.NodeProto]:
    """PReLU is max(x, slope * x) where no slope is above 1; ONNX Runtime's PReLU is slow."""
    if node.op_type != "PRelu" or node.input[1] not in constants:
        return [node]
    slopes = numpy_helper.to_array(constants[node.input[1]])
    if slopes.dtype != np.float32 or not (slopes <= 1).all():
        return [node]
    scaled = f"{node.output[0]}/scaled"
    return [
        helper.make_node("Mul", list(node.input), [scaled]),
        helper.make_node("Max", [node.input[0], scaled], list(node.output)),
    ]
