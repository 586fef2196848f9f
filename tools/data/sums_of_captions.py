"""Writes queries as sums of what people say of pictures: a Karpathy JSON for each kind of sum, one query a picture.

    python3 tools/data/sums_of_captions.py dataset_flickr8k.json runs/sums --split val

| file | query |
| --- | --- |
| first, second | a picture's first caption; its second |
| text | both, one after the other, as one text |
| sum | first + second |
| half | first + second*0.5 |
| unlike | first - other*0.3, where `other` is the first caption of the picture whose captions share most rare words with
           the first caption: what a person would see in a wrong hit and take away |
"""

import argparse
import json
import math
from collections import Counter
from pathlib import Path


def plain(caption: str) -> str:
    """The caption without signs that arithmetic would read, and without its full stop."""
    return " ".join(word for word in caption.split() if word not in {"+", "-", "*", "."})


def words(text: str) -> set[str]:
    return {word.lower() for word in text.split() if word.isalpha()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--split", default="val")
    arguments = parser.parse_args()
    content = json.loads(arguments.annotations.read_text())
    images = [image for image in content["images"] if image["split"] == arguments.split]
    captions = [[plain(sentence["raw"]) for sentence in image["sentences"]] for image in images]
    vocabulary = [set().union(*map(words, own)) for own in captions]
    count = Counter(word for own in vocabulary for word in own)
    rarity = {word: math.log(len(images) / found) for word, found in count.items()}

    def other(number: int) -> str:
        asked = words(captions[number][0])
        shared = [(sum(rarity[word] for word in asked & own), -place) for place, own in enumerate(vocabulary)]
        shared[number] = (-1.0, 0)
        return captions[-max(shared)[1]][0]

    kinds = {
        "first": lambda number: captions[number][0],
        "second": lambda number: captions[number][1],
        "text": lambda number: f"{captions[number][0]} {captions[number][1]}",
        "sum": lambda number: f"{captions[number][0]} + {captions[number][1]}",
        "half": lambda number: f"{captions[number][0]} + {captions[number][1]}*0.5",
        "unlike": lambda number: f"{captions[number][0]} - {other(number)}*0.3",
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    for kind, query in kinds.items():
        changed = [{**image, "sentences": [{"raw": query(number)}]} for number, image in enumerate(images)]
        path = arguments.output / f"{kind}.json"
        path.write_text(json.dumps({"dataset": f"{content['dataset']}, {kind}", "images": changed}))


main()
