"""Writes what one knowledge base says of the entities of another, so that two sources are compared on the same ones.

    python3 tools/data/same_entities.py models/evd/knowledge.jsonl OTHER/knowledge.jsonl TARGET.jsonl [--shuffle SEED]

How often captions name an entity is taken from the other base, and other names are left out. With --shuffle every
entity gets another one's descriptions: what is gained then is not knowledge.
"""

import argparse
import json
import random

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("source")
arguments.add_argument("other")
arguments.add_argument("target")
arguments.add_argument("--shuffle", type=int)
given = arguments.parse_args()


def visual(path):
    with open(path, encoding="utf-8") as file:
        head, *lines = file.read().splitlines()
    entities = map(json.loads, lines)
    return head, {entity["entity"]: entity for entity in entities if entity.get("visual")}


head, source = visual(given.source)
_, other = visual(given.other)
kept = [entity for name, entity in source.items() if name in other]
for entity in kept:
    entity.pop("aliases", None)
    entity["frequency"] = other[entity["entity"]]["frequency"]
if given.shuffle is not None:
    chance = random.Random(given.shuffle)
    start = chance.randrange(1, len(kept))
    senses = [entity["senses"] for entity in kept]
    for entity, moved in zip(kept, senses[start:] + senses[:start]):
        entity["senses"] = moved
with open(given.target, "w", encoding="utf-8") as file:
    file.writelines(line + "\n" for line in [head, *(json.dumps(entity, ensure_ascii=False) for entity in kept)])
print(f"{len(kept)} of {len(source)} entities")
