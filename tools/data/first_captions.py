"""Keeps the first caption of every n-th picture of a split, and all its pictures: a small sample for slow rewriters.

    python3 tools/data/first_captions.py dataset_flickr8k.json TARGET.json [--split val] [--every 3]
"""

import argparse
import json

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("source")
arguments.add_argument("target")
arguments.add_argument("--split", default="val")
arguments.add_argument("--every", type=int, default=3)
given = arguments.parse_args()

with open(given.source, encoding="utf-8") as file:
    dataset = json.load(file)
dataset["images"] = [image for image in dataset["images"] if image["split"] == given.split]
for position, image in enumerate(dataset["images"]):
    image["sentences"] = image["sentences"][:1] if position % given.every == 0 else []
with open(given.target, "w", encoding="utf-8") as file:
    json.dump(dataset, file)
