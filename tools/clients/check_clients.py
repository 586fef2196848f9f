"""Asks a running `relens serve` through the clients that other servers have.

    relens serve --alias ViT-B-32__openai=relens-mini &
    pip install openai huggingface_hub requests && pip install --no-deps clip-retrieval infinity_client
    python3 tools/clients/check_clients.py http://127.0.0.1:7788 gallery/cat.jpg

A client that is not installed is skipped, and said so; the exit code is 1 if one does not get what it expects.
"""

import base64
import importlib.util
import json
import math
import pathlib
import sys

FAILED = []


def check(name, package):
    """Runs a function as the check of a client, if its package is installed."""

    def decorate(run):
        if importlib.util.find_spec(package) is None:
            print(f"skipped  {name}: {package} is not installed")
            return run
        try:
            print(f"ok       {name}: {run()}")
        except Exception as error:  # whatever a client throws is its verdict
            FAILED.append(name)
            print(f"FAILED   {name}: {type(error).__name__}: {error}")
        return run

    return decorate


def length(vector):
    return math.sqrt(sum(value * value for value in vector))


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def main(server, picture):
    data = "data:image/jpeg;base64," + base64.b64encode(open(picture, "rb").read()).decode()

    @check("openai, base64 and float", "openai")
    def openai_client():
        from openai import OpenAI

        client = OpenAI(base_url=f"{server}/v1", api_key="none")
        # Without an encoding this client asks for base64.
        encoded = client.embeddings.create(model="relens-mini", input=["a dog", "a cat"])
        floats = client.embeddings.create(model="relens-mini", input="a dog", encoding_format="float")
        short = client.embeddings.create(model="relens-mini", input="a dog", dimensions=64)
        one, other = encoded.data[0].embedding, floats.data[0].embedding
        expect(max(abs(a - b) for a, b in zip(one, other)) < 1e-6, "both encodings to be the same vector")
        expect(abs(length(one) - 1) < 1e-4, "a vector of length 1")
        expect(len(short.data[0].embedding) == 64, "64 dimensions")
        names = [model.id for model in client.models.list()]
        expect("relens-mini" in names, "the model among the models")
        return f"{len(one)} components, models {names}"

    @check("huggingface_hub, feature_extraction", "huggingface_hub")
    def hub_client():
        from huggingface_hub import InferenceClient

        vectors = InferenceClient(model=f"{server}/embed").feature_extraction("a dog")
        return f"shape {vectors.shape}"

    @check("infinity_client, texts and a picture", "infinity_client")
    def infinity():
        from infinity_client import Client
        from infinity_client.api.default import embeddings
        from infinity_client.models import OpenAIEmbeddingInputText

        with Client(base_url=server) as client:
            body = OpenAIEmbeddingInputText.from_dict({"model": "relens-mini", "input": ["a dog"], "modality": "text"})
            answer = embeddings.sync(client=client, body=body)
        expect(len(answer.data) == 1, f"one vector, not {answer}")
        return f"{len(answer.data[0].embedding)} components"

    @check("clip-retrieval, ClipClient", "clip_retrieval")
    def clip_retrieval():
        # The package imports its own server; the client alone needs none of that.
        package = pathlib.Path(importlib.util.find_spec("clip_retrieval").origin).parent
        spec = importlib.util.spec_from_file_location("clip_client", package / "clip_client.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        client = module.ClipClient(url=f"{server}/knn-service", indice_name="relens", num_images=5)
        by_text, by_picture = client.query(text="a cat"), client.query(image=picture)
        expect(len(by_text) == 5 and len(by_picture) == 5, "five pictures")
        return f"best: {by_text[0]['image_path']}, {by_picture[0]['image_path']}"

    @check("immich, as its server sends it", "requests")
    def immich():
        import requests

        expect(requests.get(f"{server}/ping").text == "pong", "pong")
        textual = {"clip": {"textual": {"modelName": "ViT-B-32__openai", "options": {"language": "en"}}}}
        form = {"entries": json.dumps(textual), "text": "a pooch"}
        text = requests.post(f"{server}/predict", files={name: (None, value) for name, value in form.items()})
        visual = json.dumps({"clip": {"visual": {"modelName": "ViT-B-32__openai"}}})
        files = {"entries": (None, visual), "image": ("blob", open(picture, "rb"))}
        image = requests.post(f"{server}/predict", files=files).json()
        expect(image["imageWidth"] > 0, "the picture's size")
        return f"{len(json.loads(text.json()['clip']))} and {len(json.loads(image['clip']))} components"

    @check("infinity's pictures, by openai", "openai")
    def pictures():
        from openai import OpenAI

        client = OpenAI(base_url=f"{server}/v1", api_key="none")
        answer = client.embeddings.create(model="relens-mini", input=[data], extra_body={"modality": "image"})
        return f"{len(answer.data[0].embedding)} components"

    return 1 if FAILED else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1].rstrip("/"), sys.argv[2]))
