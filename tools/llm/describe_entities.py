#!/usr/bin/env python3
"""Lets a small language model go on with a list of what things look like: records for `relens kb build --records`.

    python3 tools/llm/describe_entities.py models/evd/knowledge.jsonl --most 80 --output runs/smollm2-evd.jsonl \
        [--endpoint http://127.0.0.1:8717/v1] [--llm smollm2-135m-instruct]

`relens kb build --llm` asks ten at a time for JSON; a model of 135 million parameters copies the examples of that prompt.
Taken are the entities that the training captions name most often.
"""

import argparse
import json
import urllib.request

SHOWN = {
    "zebra": "black and white stripes; short stiff mane; four slender legs; tail with a dark tuft",
    "umbrella": "round canopy of taut fabric; thin metal ribs; curved handle; long central shaft",
    "surfer": "tight black wetsuit; crouching on a board; wet hair; arms spread for balance",
    "tree": "brown trunk; green leaves; spreading branches; rough bark",
    "bicycle": "two spoked wheels; curved handlebars; narrow seat; metal frame",
}


def ask(endpoint, llm, entity):
    shown = [f"{name}: {descriptions}" for name, descriptions in SHOWN.items() if name != entity]
    prompt = "\n".join(["What things look like:", *shown, f"{entity}:"])
    body = {"model": llm, "prompt": prompt, "temperature": 0.0, "max_tokens": 40, "stop": ["\n"]}
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{endpoint}/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=600) as response:
        text = json.load(response)["choices"][0]["text"]
    found = (" ".join(part.strip(" .,").split()).lower() for part in text.split(";"))
    return list(dict.fromkeys(part for part in found if 1 <= len(part.split()) <= 9))[:6]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("knowledge")
    arguments.add_argument("--most", type=int, default=80)
    arguments.add_argument("--output", required=True)
    arguments.add_argument("--endpoint", default="http://127.0.0.1:8717/v1")
    arguments.add_argument("--llm", default="smollm2-135m-instruct")
    given = arguments.parse_args()
    with open(given.knowledge, encoding="utf-8") as file:
        entities = [entity for line in file if (entity := json.loads(line)).get("visual")]
    entities.sort(key=lambda entity: (-entity["frequency"], entity["entity"]))
    with open(given.output, "w", encoding="utf-8") as output:
        for entity in entities[:given.most]:
            found = ask(given.endpoint, given.llm, entity["entity"])
            if found:
                record = {"entity": entity["entity"], "visual": True, "descriptions": found}
                output.write(json.dumps(record, ensure_ascii=False) + "\n")
                output.flush()


if __name__ == "__main__":
    main()
