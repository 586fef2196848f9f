"""Writes captions as hurried people type them: a copy of a Karpathy JSON with typing errors in one split.

    python3 tools/data/add_typos.py dataset_flickr8k.json runs/typos/val.json --split val --errors 2

Every caption gets the given number of errors in different words of four letters or more: two letters swapped, one left
out, one doubled, or one replaced by its neighbour on the keyboard. The same seed gives the same file.
"""

import argparse
import json
import random
from pathlib import Path

ROWS = ["qwertyuiop", "asdfghjkl", "zxcvbnm"]


def neighbours(letter: str) -> str:
    for row in ROWS:
        place = row.find(letter)
        if place >= 0:
            return row[max(place - 1, 0) : place] + row[place + 1 : place + 2]
    return letter


def mistyped(word: str, rng: random.Random) -> str:
    place = rng.randrange(1, len(word) - 1)
    kind = rng.choice(["swap", "omit", "double", "neighbour"])
    if kind == "swap":
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    if kind == "omit":
        return word[:place] + word[place + 1 :]
    if kind == "double":
        return word[:place] + word[place] + word[place:]
    return word[:place] + rng.choice(neighbours(word[place].lower()) or word[place]) + word[place + 1 :]


def with_errors(caption: str, errors: int, rng: random.Random) -> str:
    words = caption.split()
    long = [place for place, word in enumerate(words) if len(word) >= 4 and word.isalpha()]
    for place in rng.sample(long, min(errors, len(long))):
        words[place] = mistyped(words[place], rng)
    return " ".join(words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--errors", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    dataset = json.loads(arguments.source.read_text(encoding="utf-8"))
    dataset["images"] = [image for image in dataset["images"] if image["split"] == arguments.split]
    for image in dataset["images"]:
        for sentence in image["sentences"]:
            sentence["raw"] = with_errors(sentence["raw"], arguments.errors, rng)
            sentence["tokens"] = sentence["raw"].lower().split()
    arguments.target.parent.mkdir(parents=True, exist_ok=True)
    arguments.target.write_text(json.dumps(dataset), encoding="utf-8")


if __name__ == "__main__":
    main()
