"""Writes crates/relens/src/model_hub/open_clip_names.txt: open_clip's names of weights and the repositories on the hub.

    python3 tools/reference/list_open_clip_models.py
"""

from pathlib import Path

from open_clip import pretrained

TARGET = Path(__file__).parents[2] / "crates/relens/src/model_hub/open_clip_names.txt"
HEADER = """\
# open_clip's names of pretrained models, as `model/weights`, and the repositories that hold them.
# Made by tools/reference/list_open_clip_models.py from open_clip's own table; models that relens cannot run are left out.
"""
# Parts of the names of models with towers or tokenizers that relens does not have.
LEFT_OUT = (
    "roberta convnext EVA01 EVA02-E nllb Mobile ViTamin PE-Core worldwide gopt CLIPA i18n"
).split()


def main() -> None:
    rows = []
    for model, weights in pretrained._PRETRAINED.items():
        if not any(part in model for part in LEFT_OUT):
            rows += [f"{model}/{tag} {config['hf_hub'].rstrip('/')}\n" for tag, config in weights.items() if config.get("hf_hub")]
    TARGET.write_text(HEADER + "".join(sorted(rows)))


if __name__ == "__main__":
    main()
