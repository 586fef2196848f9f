# `just` lists the recipes; https://github.com/casey/just runs them.

[private]
default:
    @just --list --unsorted

# Everything that must hold before a change lands: exactly what CI runs
check:
    .ci/run

# Index the gallery and show a few searches
quickstart:
    cargo run --release -- quickstart

# What the tests and timings that need more than this repository read; they skip where it is missing
shared := env("RELENS_SHARED", "../shared")

# Compute the reference numbers anew with PyTorch, then compare ours with them
parity python="python3":
    {{python}} -m pip install --quiet --requirement tools/reference/requirements.txt
    {{python}} tools/reference/make_ops_fixtures.py
    {{python}} tools/reference/make_architecture_fixtures.py
    {{python}} tools/reference/make_t5_fixtures.py
    {{python}} tools/reference/make_llama_fixtures.py
    {{python}} tools/reference/make_lora_fixtures.py
    {{python}} tools/reference/make_gguf_fixtures.py
    {{python}} tools/reference/make_objectives_fixtures.py crates/relens-training/tests/fixtures
    {{python}} tools/reference/make_rewriter_objectives_fixtures.py crates/relens-training/tests/fixtures
    {{python}} tools/reference/image_preprocessing.py crates/relens-models/tests/fixtures gallery
    {{python}} tools/reference/efficientnet.py crates/relens-models/tests/fixtures
    {{python}} tools/reference/make_dual_encoder_fixtures.py models/relens-mini crates/relens/tests/fixtures/relens-mini.json
    if [ -d "{{shared}}/weights/all-MiniLM-L6-v2" ]; then {{python}} tools/reference/make_text_fixtures.py "{{shared}}/weights/all-MiniLM-L6-v2"; fi
    cargo test --release --workspace
    cargo build --release --workspace --bins --example token_ids
    {{python}} tools/reference/parity.py --relens target/release/relens --token-ids target/release/examples/token_ids

# Time the towers beside PyTorch, alternating
speed python="python3":
    cargo build --release --package relens-models --package relens-training --examples
    {{python}} tools/reference/time_image.py --architecture tf_efficientnet_lite2
    {{python}} tools/reference/time_t5.py
    {{python}} tools/reference/time_towers.py --int8
    {{python}} tools/reference/time_towers.py --architecture RN50-quickgelu --tasks image:32,image:1

# Feed damaged files to the readers of models, ten minutes each; needs cargo-fuzz and a nightly compiler
fuzz seconds="600":
    cargo +nightly fuzz run config -- -max_total_time={{seconds}} -malloc_limit_mb=256 -rss_limit_mb=1024
    cargo +nightly fuzz run safetensors -- -max_total_time={{seconds}} -malloc_limit_mb=256 -rss_limit_mb=1024

# Time our kernels, towers and indexes
bench *arguments:
    cargo bench --workspace {{arguments}}

# Build both wheels for Python into dist/; needs Python with pip, fetches maturin and hatchling
wheel python="python3":
    {{python}} -m venv target/wheel-tools
    target/wheel-tools/bin/pip install --quiet 'maturin>=1.9,<2' build hatchling
    cargo build --release --package relens-cli
    install -D target/release/relens bindings/python/relens.data/scripts/relens
    cd bindings/python && ../../target/wheel-tools/bin/maturin build --release --compatibility pypi --out ../../dist
    target/wheel-tools/bin/python -m build --no-isolation --wheel --outdir dist bindings/python-models
    ls -l dist

# Execute the notebook where it lies; needs Jupyter
notebook python="python3":
    {{python}} -m jupyter execute --inplace examples/rewriting.ipynb

# The documentation of all crates, opened in a browser
docs:
    cargo doc --workspace --no-deps --open
