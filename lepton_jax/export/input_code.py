"""Programs for a README that make a bundle's inputs of an image file or a text, or go on with one.

They do what `serving.loader.Bundle` does in `decode` and `encode`, and `generate` by a bundle.
"""

import json
from collections.abc import Mapping
from typing import Any

from lepton_jax.export.raw_inputs import MODES


def image_code(decoding: Mapping[str, Any]) -> str:
    """Returns a program that makes `inputs` of an image file, by the steps of the signature."""
    modes = [step["mode"] for name, step in decoding["steps"] if name == "mode"]
    lines = [
        "import numpy as np",
        "from PIL import Image, ImageOps",
        "",
        'picture = ImageOps.exif_transpose(Image.open("examples/00.png"))',
    ]
    mode, size = "", None
    for name, step in decoding["steps"]:
        match name:
            case "mode":
                if step["mode"] != mode:
                    lines.append(f'picture = picture.convert("{step["mode"]}")')
                mode = step["mode"]
            case "resize":
                wanted = (step["width"], step["height"])
                if wanted != size:
                    lines.append(f"picture = picture.resize({wanted}, {_BILINEAR})")
                size = wanted
            case "resize_shorter":
                lines += [
                    f"scale = lambda side: round(side * {step['size']} / min(picture.size))",
                    f"picture = picture.resize((scale(picture.width), scale(picture.height)), "
                    f"{_BILINEAR})",
                ]
                size = None
            case "center_crop":
                size = (step["width"], step["height"])
                lines += [
                    f"left, top = (picture.width - {size[0]}) // 2, "
                    f"(picture.height - {size[1]}) // 2",
                    f"picture = picture.crop((left, top, left + {size[0]}, top + {size[1]}))",
                ]
    channel = ", :, :, None" if modes[-1] == MODES["grayscale"] else ""
    made = f"np.asarray(picture)[None{channel}]"
    lines.append(f"inputs = {{{json.dumps(decoding['input'])}: {made}}}")
    return "\n".join(lines) + "\n"


_BILINEAR = "Image.Resampling.BILINEAR"


def text_code(how: Mapping[str, Any]) -> str:
    """Returns a program that makes `inputs` of a text, or of a pair, as the signature says it."""
    texts = '"the first text", "the second text"' if how["pair"] else '"the text"'
    lines = ["import numpy as np", "from tokenizers import Tokenizer", ""]
    lines += ['tokenizer = Tokenizer.from_file("tokenizer.json")', "tokenizer.no_padding()"]
    if how["long"] == "truncate" and not how.get("goes_on"):
        lines.append(f"tokenizer.enable_truncation({how['size']})")
    else:
        lines.append("tokenizer.no_truncation()")
    special = ", add_special_tokens=False" if how.get("goes_on") else ""
    lines.append(f"encoded = tokenizer.encode({texts}{special})")
    begins = how.get("goes_on") and how.get("begin") is not None
    lines.append(f"ids = [{how['begin']}, *encoded.ids]" if begins else "ids = encoded.ids")
    fields, size = how["inputs"], how["size"]
    lines += [
        f"tokens = np.full((1, {size}), {how['pad']}, np.int32)",
        "tokens[0, : len(ids)] = ids",
    ]
    made = {"tokens": "tokens"}
    if "length" in fields:
        more = " + 1" if how.get("goes_on") else ""  # the next token has a place of its own
        lines.append(f"length = np.asarray([len(ids){more}], np.int32)")
        made["length"] = "length"
    if "kinds" in fields:
        lines += [
            f"kinds = np.zeros((1, {size}), np.int32)",
            "kinds[0, : len(ids)] = encoded.type_ids",
        ]
        made["kinds"] = "kinds"
    inside = ", ".join(f"{json.dumps(fields[part])}: {name}" for part, name in made.items())
    lines.append(f"inputs = {{{inside}}}")
    return "\n".join(lines) + "\n"


TOKENS = 20
"""How many tokens the program of `continue_code` makes."""


def continue_code(how: Mapping[str, Any], cached: Mapping[str, Any]) -> str:
    """Returns a program that continues a text by the likeliest tokens, with the ONNX programs that
    read with a cache.
    """
    programs = cached["programs"]["onnx"]
    begin = "" if how.get("begin") is None else f"[{how['begin']}] + "
    caches = sorted(cached["cache"])
    given = [programs["step"]["inputs"][k] for k in caches]
    first, next_ones = (
        ["logits", *(programs[part]["outputs"][k] for k in caches)] for part in ("prefill", "step")
    )
    lines = [
        "import numpy as np",
        "import onnxruntime",
        "from tokenizers import Tokenizer",
        "",
        'tokenizer = Tokenizer.from_file("tokenizer.json")',
        f'tokens = {begin}tokenizer.encode("the text", add_special_tokens=False).ids',
        f'prefill = onnxruntime.InferenceSession("{programs["prefill"]["path"]}")',
        f'step = onnxruntime.InferenceSession("{programs["step"]["path"]}")',
        f"caches = {json.dumps(given)}",
        f"made = {json.dumps(next_ones)}",
        f"logits, *cache = prefill.run({json.dumps(first)}, "
        '{"tokens": np.asarray([tokens], np.int32)})',
        _count_line(cached),
        "    tokens.append(int(logits[0].argmax()))",
        '    inputs = {"tokens": np.asarray([tokens[-1:]], np.int32), **dict(zip(caches, cache))}',
        "    logits, *cache = step.run(made, inputs)",
        "print(tokenizer.decode(tokens))",
    ]
    return "\n".join(lines) + "\n"


def _count_line(cached: Mapping[str, Any]) -> str:
    most = cached["context"]
    if most is None:
        return f"for _ in range({TOKENS}):"
    return f"for _ in range(min({TOKENS}, {most} - len(tokens))):  # {most} tokens are all it reads"
