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

# Compute the reference numbers anew with PyTorch, then compare ours with them
parity python="python3":
    {{python}} -m pip install --quiet --requirement tools/reference/requirements.txt
    for script in tools/reference/make_*.py; do {{python}} "$script"; done
    cargo test --release --package relens-models --package relens --package relens-training

# Time our kernels, towers and indexes
bench *arguments:
    cargo bench --workspace {{arguments}}

# The documentation of all crates, opened in a browser
docs:
    cargo doc --workspace --no-deps --open
