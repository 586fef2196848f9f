"""Sends broken requests to every form that a running `relens serve` speaks, and fails if one is not answered properly.

    python3 tools/server/mutate.py http://127.0.0.1:7788 [--each 1000] [--seed 0]

Each body is a good one with something wrong: bytes changed, cut off or repeated, values of another type, size or sign.
An answer has a status below 500, or 503 (too many wait), or 501 (a task for a service that is not there).
"""

import argparse
import collections
import http.client
import json
import random
import sys
import urllib.parse

STRANGE = [None, True, -1, 0, 2**31, 2**63, 1e308, "", " ", "\u0000", "a" * 5000, "🐕", [], {}, [[]], ["a", 1], {"a": {}}, -0.0]
IMMICH = {"clip": {"textual": {"modelName": "ViT-B-32__openai", "options": {"language": "en"}}}}
BODIES = {
    "/v1/embeddings": {"model": "relens-mini", "input": ["a dog", "a cat"], "encoding_format": "base64", "dimensions": 64},
    "/embed": {"inputs": ["a dog"], "normalize": True, "truncate": True, "dimensions": 32},
    "/predict": IMMICH,
    "/knn-service": {"text": "a dog", "modality": "image", "num_images": 3, "num_result_ids": 5, "indice_name": "relens"},
    "/metadata": {"ids": [1, 2], "indice_name": "relens"},
    "/api/v1/search": {"query": "a dog", "k": 3, "filters": {"in": ["gallery"]}, "like": [1], "min_fit": 0.2},
    "/api/v1/rewrite": {"query": "a pooch", "keep": ["pooch"]},
    "/api/v1/embed": {"texts": ["a dog"]},
}


def with_strange_value(chosen, value):
    """The value with one part replaced, taken out or renamed."""
    if isinstance(value, dict) and value and chosen.random() < 0.8:
        key = chosen.choice(list(value))
        changed = dict(value)
        if chosen.random() < 0.15:
            del changed[key]
        elif chosen.random() < 0.1:
            changed[key + "x"] = changed.pop(key)
        else:
            changed[key] = with_strange_value(chosen, changed[key])
        return changed
    if isinstance(value, list) and value and chosen.random() < 0.5:
        at = chosen.randrange(len(value))
        return value[:at] + [with_strange_value(chosen, value[at])] + value[at + 1 :] * chosen.choice([1, 1, 50])
    return chosen.choice(STRANGE)


def broken(chosen, text):
    """The bytes with some changed, cut off, or said twice."""
    data = bytearray(text)
    for _ in range(chosen.randrange(1, 4)):
        at = chosen.randrange(len(data) + 1)
        match chosen.randrange(4):
            case 0:
                data[at : at + 1] = bytes([chosen.randrange(256)])
            case 1:
                del data[at:]
            case 2:
                data[at:at] = data[: chosen.randrange(40)]
            case 3:
                data[at:at] = chosen.choice([b"{", b"[", b'"', b"\\u0000", b"\xff", b"9" * 400])
    return bytes(data)


def request(chosen, path, good):
    value = with_strange_value(chosen, good) if chosen.random() < 0.6 else good
    text = json.dumps(value).encode()
    if value is good or chosen.random() < 0.2:
        text = broken(chosen, text)
    if path != "/predict":
        return text, "application/json"
    parts = [("entries", text), ("text", chosen.choice([b"a dog", b"", b"\xff\xfe", b"a" * 40000]))]
    form = b"".join(b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), part) for name, part in parts)
    form += b"--x--\r\n"
    return (broken(chosen, form) if chosen.random() < 0.3 else form), "multipart/form-data; boundary=x"


def main(arguments):
    address = urllib.parse.urlparse(arguments.server)
    failed = 0
    for path, good in BODIES.items():
        chosen = random.Random(f"{arguments.seed} {path}")
        statuses = collections.Counter()
        connection = http.client.HTTPConnection(address.netloc, timeout=60)
        for _ in range(arguments.each):
            body, kind = request(chosen, path, good)
            connection.request("POST", path, body, {"Content-Type": kind})
            answer = connection.getresponse()
            text = answer.read()
            statuses[answer.status] += 1
            if answer.status >= 500 and answer.status not in (501, 503):
                failed += 1
                print(f"{path} answered {answer.status} to {body[:300]!r}: {text[:300]!r}")
        print(f"{path}: {dict(sorted(statuses.items()))}")
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server")
    parser.add_argument("--each", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    sys.exit(main(parser.parse_args()))
