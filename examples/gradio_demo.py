"""A page that searches a folder of pictures: ``python examples/gradio_demo.py [FOLDER]`` (needs ``pip install gradio``)."""

from __future__ import annotations

import sys
import tempfile

import gradio

import relens


def search_in(library: relens.Library, query: str, rewriting: bool) -> tuple[list[tuple[str, str]], str]:
    """What a query finds, each picture with its score, and what the query became."""
    if not query.strip():
        return [], ""
    enhancer = "default" if rewriting else None
    found, rewrite = library.search_with_rewrite(query, k=12, enhancer=enhancer)
    shown = [(str(hit.path), f"{hit.score:.3f}") for hit in found]
    read = "\n".join(f"{weight:.2f}  {text}" for text, weight in zip(rewrite.texts, rewrite.weights))
    return shown, read


def page(library: relens.Library) -> gradio.Blocks:
    """The page."""
    with gradio.Blocks(title="relens") as blocks:
        query = gradio.Textbox(label="What the pictures should show", autofocus=True)
        rewriting = gradio.Checkbox(value=True, label="Rewrite the query")
        pictures = gradio.Gallery(label="Found", columns=4)
        read = gradio.Textbox(label="What the retriever read", interactive=False)

        def search(query: str, rewriting: bool) -> tuple[list[tuple[str, str]], str]:
            return search_in(library, query, rewriting)

        query.submit(search, [query, rewriting], [pictures, read])
    return blocks


def main() -> None:
    """Indexes the folder, or the gallery that comes with relens, and opens the page."""
    folder = sys.argv[1] if len(sys.argv) > 1 else relens.data_directory("gallery")
    with tempfile.TemporaryDirectory() as directory, relens.Library(directory) as library:
        library.index(folder, on_progress=True)
        page(library).launch(allowed_paths=[str(folder)])


if __name__ == "__main__":
    main()
