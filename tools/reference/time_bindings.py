"""Captions encoded by the Rust library and through Python, alternating in one session: what the bindings cost.

    (cd bindings/python && cargo build --release --example time_texts)
    python3 tools/reference/time_bindings.py CAPTIONS.txt [--captions 1000] [--rounds 10]

CAPTIONS.txt holds a caption a line; relens is the installed wheel, or what PYTHONPATH names, built with --release.
Prints the medians over all rounds, and by how many per cent Python takes longer: in one call, and in batches of 64.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import relens

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path, metavar="captions_file")
    parser.add_argument("--captions", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--model", default="relens-mini")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--binary", type=Path, default=target / "release/examples/time_texts")
    arguments = parser.parse_args()

    texts = arguments.file.read_text().splitlines()[: arguments.captions]
    retriever = relens.Retriever(arguments.model)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "captions.txt")
        file.write_text("\n".join(texts) + "\n")
        command = [arguments.binary, arguments.model, file]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

            def library() -> float:
                process.stdin.write("\n")
                process.stdin.flush()
                return float(process.stdout.readline())

            def python(batch_size: int) -> float:
                start = time.perf_counter()
                retriever.encode_text(texts, batch_size=batch_size)
                return time.perf_counter() - start

            sides: dict[str, Callable[[], float]] = {
                "library": library,
                "one_call": lambda: python(len(texts)),
                "batches": lambda: python(64),
            }
            seconds: dict[str, list[float]] = {name: [] for name in sides}
            for side in sides.values():
                side()
            for _ in range(arguments.rounds):
                for name, side in sides.items():
                    seconds[name].append(side())
            process.stdin.close()
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    more = {f"{name}_more_percent": round(100 * (value / medians["library"] - 1), 2) for name, value in medians.items()}
    print(json.dumps({"captions": len(texts), **{f"{k}_s": round(v, 4) for k, v in medians.items()}, **more}))


if __name__ == "__main__":
    main()
