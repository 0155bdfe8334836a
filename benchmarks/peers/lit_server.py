"""Serves an ONNX program by LitServe: MODEL PORT BATCH WORKERS.

A request is `{"image": [3072 numbers]}`, or `{"bytes": "..."}` with the same in base64, the way in
which LitServe takes the bytes of an image.
"""

import base64
import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime

SHAPE = (32, 32, 3)


class Cnn(litserve.LitAPI):
    def setup(self, device: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(sys.argv[1], options)
        self.name = self.session.get_inputs()[0].name

    def decode_request(self, request: dict) -> np.ndarray:
        if "bytes" in request:
            return np.frombuffer(base64.b64decode(request["bytes"]), np.uint8).reshape(SHAPE)
        return np.asarray(request["image"], np.uint8).reshape(SHAPE)

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        return np.stack(inputs)

    def predict(self, x: np.ndarray) -> Any:
        label, probabilities = self.session.run(
            ["label", "probabilities"], {self.name: x if x.ndim == 4 else x[None]}
        )
        found = list(zip(label.tolist(), probabilities.tolist(), strict=True))
        return found if x.ndim == 4 else found[0]

    def unbatch(self, output: Any) -> Any:
        return output

    def encode_response(self, output: tuple[int, list[float]]) -> dict:
        return {"label": output[0], "probabilities": output[1]}


if __name__ == "__main__":
    port, batch, workers = map(int, sys.argv[2:])
    api = Cnn(max_batch_size=batch)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=workers, fast_queue=True)
    server.run(port=port, log_level="error", generate_client_file=False, access_log=False)
