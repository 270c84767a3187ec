"""Words in, music out."""

import os

# Read when onnxruntime is loaded. It would keep a device id and what happens in sessions in the
# user's cache, for its makers.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
