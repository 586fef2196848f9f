"""How many pictures of what a query does not want are among its first ten, as the program searches.

    python3 tools/data/measure_exclusion.py RELENS DATA [CAPTIONS]

RELENS is the program, DATA a directory with Flickr8k (dataset_flickr8k.json, images/). The pictures of `val` are indexed
into a library of their own. For CAPTIONS (default 300) pictures, one caption each, the thing that most of the caption's
first ten pictures show and its own picture does not is attached by "without"; a picture shows what at least two of its
captions name. Needs nothing but Python.
"""

import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

KNOWLEDGE = Path(__file__).resolve().parents[2] / "models" / "evd" / "knowledge.jsonl"
PLURALS = {"men": "man", "women": "woman", "people": "person", "children": "child"}


def singular(word):
    if word in PLURALS:
        return PLURALS[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def counts(picture):
    found = Counter()
    for sentence in picture["sentences"]:
        found.update({singular(word) for word in re.findall("[a-z]+", sentence["raw"].lower())})
    return found


def first_ten(relens, home, query, *options):
    command = [relens, "--quiet", "search", "-k", "10", "--json", *options, "--", query]
    answer = subprocess.run(command, check=True, env={**os.environ, "RELENS_HOME": home}, capture_output=True, text=True)
    return [Path(hit["path"]).name for hit in json.loads(answer.stdout)]


def main():
    relens, data = sys.argv[1], Path(sys.argv[2])
    wanted = int(sys.argv[3]) if len(sys.argv) > 3 else 300
    things = set()
    for line in KNOWLEDGE.open(encoding="utf-8"):
        entity = json.loads(line)
        if entity.get("visual") and " " not in entity.get("entity", " "):
            things.add(entity["entity"].lower())
    pictures = json.loads((data / "dataset_flickr8k.json").read_text(encoding="utf-8"))["images"]
    pictures = [picture for picture in pictures if picture["split"] == "val"]
    shown = {picture["filename"]: counts(picture) for picture in pictures}
    draw = random.Random(0)
    draw.shuffle(pictures)
    share, first, asked = Counter(), Counter(), 0
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as folder:
        for picture in pictures:
            os.symlink((data / "images" / picture["filename"]).resolve(), Path(folder) / picture["filename"])
        index = [relens, "--quiet", "index", folder, "--follow-links"]
        subprocess.run(index, check=True, env={**os.environ, "RELENS_HOME": home}, stdout=subprocess.DEVNULL)
        for picture in pictures:
            if asked == wanted:
                break
            own = picture["filename"]
            caption = draw.choice(picture["sentences"])["raw"].rstrip(" .")
            around = Counter()
            for name in first_ten(relens, home, caption):
                around.update(w for w, n in shown[name].items() if n >= 2 and w in things and w not in shown[own])
            if not around or around.most_common(1)[0][1] < 2:
                continue
            thing = around.most_common(1)[0][0]
            form = "people" if thing == "person" else ("an " if thing[0] in "aeiou" else "a ") + thing
            query = f"{caption} without {form}"
            asked += 1
            for name, options in (("identity", ["--enhancer", "identity"]), ("default", [])):
                found = first_ten(relens, home, query, *options)
                share[name] += sum(shown[name][thing] >= 2 for name in found) / len(found)
                first[name] += found[0] == own
            if asked % 50 == 0 or asked == wanted:
                told = ", ".join(f"{name}: excluded {share[name] / asked:.1%}, first {first[name] / asked:.1%}" for name in share)
                print(f"{asked} queries; {told}", flush=True)


if __name__ == "__main__":
    main()
