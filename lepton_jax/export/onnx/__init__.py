"""A model as an ONNX program: the walk of its jaxpr, and a file for each family of primitives."""
