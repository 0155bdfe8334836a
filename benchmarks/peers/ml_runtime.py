"""Answers by an ONNX program in MLServer, whose settings name this class."""

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Cnn(MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri, options)
        self.input = self.session.get_inputs()[0].name
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x = NumpyCodec.decode_input(payload.inputs[0]).astype(np.uint8).reshape(-1, 32, 32, 3)
        names = ["label", "probabilities"]
        outputs = self.session.run(names, {self.input: x})
        encoded = [NumpyCodec.encode_output(n, y) for n, y in zip(names, outputs, strict=True)]
        return InferenceResponse(model_name=self.name, outputs=encoded)
