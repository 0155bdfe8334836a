"""The one loader of bundles: checks a bundle, decodes raw input, answers.

Imports: the standard library and numpy; jax, safetensors and Pillow when a StableHLO program is
loaded, onnxruntime alone when an ONNX program is, tokenizers when a text is given or shown. It also
runs from its own file, without the rest of lepton_jax: so bundles are verified. Nothing in a bundle
is imported, evaluated or unpickled, and nothing is opened but plain files that lie in its folder:
`open_inside` is the only door, and onnxruntime reads the weights beside its program.
"""

import hashlib
import io
import json
import math
import os
import stat
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

FORMAT_VERSION = 1
"""The newest bundle format that this loader reads."""

MANIFEST = "manifest.json"
VERDICT = "verdict.json"
SIGNED = "model.sig"
UNLISTED = frozenset({MANIFEST, VERDICT, SIGNED})
"""Files of a bundle that its manifest does not list: itself, the verdict, who signed the bundle."""

WEIGHTS = "weights.safetensors"
ONNX = "model.onnx"
"""Beside the weights, into which it points: a path out of its folder would be refused."""

NOT_LISTED = "not listed in the manifest"
"""How the sentence of `find_faults` about a file that does not belong to a bundle ends."""

MAX_BATCH = 256
"""Larger batches are split, and smaller ones padded to a power of two: few shapes to compile."""

_UNREADABLE = (
    struct.error,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
)
"""What reading a damaged program may raise: flatbuffers checks nothing of what it reads."""

# Pillow's `Image.Transpose` by EXIF orientation.
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}

# Reading a file in pieces of this size keeps the memory of a digest small.
_PIECE = 1 << 20

MAX_JSON = 1 << 24
"""Bytes of a JSON document of a bundle, but for its tokenizer; larger ones are refused unread."""

MAX_DEPTH = 64
"""Levels of objects and lists in a JSON document of a bundle."""

_MOST_ELEMENTS = 1 << 28
_LONGEST_SIDE = 1 << 15
"""What a signature may ask for: elements of an input, and pixels of a side of an image."""

MAX_FILES = 1_000
"""Files and folders of a bundle; a folder with more is refused before the rest is listed."""


class BundleError(Exception):
    """The folder is no bundle, is damaged, or was written by something newer."""


class InputError(ValueError):
    """The input is not what the bundle's signature declares."""


def open_inside(folder: str | os.PathLike[str], path: str) -> BinaryIO:
    """Opens the plain file `path` of a bundle; follows no link below `folder`, and never waits.

    Raises:
      OSError: when a part of the path is a link, '..' or absent, or it is no plain file.
    """
    parts, flags = path.split("/"), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    if not all(parts) or {".", ".."} & set(parts) or "\0" in path:
        raise OSError(0, "is no path inside a bundle")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts:
            mode = os.lstat(part, dir_fd=descriptor).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise OSError(0, "is a link" if stat.S_ISLNK(mode) else "is no plain file")
            parent, descriptor = descriptor, os.open(part, flags, dir_fd=descriptor)
            os.close(parent)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "is no plain file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_file(folder: str | os.PathLike[str], path: str, most: int = 1 << 40) -> bytes:
    """Reads the plain file `path` of a bundle, of at most `most` bytes.

    Raises:
      BundleError: when there is none, or it is larger; names it.
    """
    try:
        with open_inside(folder, path) as f:
            if (size := os.fstat(f.fileno()).st_size) > most:
                raise OSError(0, f"{size} bytes are more than such a document has")
            return f.read()
    except OSError as e:
        name = f"{os.fspath(folder)}/{_printable(path)}"
        raise BundleError(f"{name}: {e.strerror}") from None


def read_json(folder: str | os.PathLike[str], path: str) -> Any:
    """Reads a JSON document of a bundle, as `parse_json` does.

    Raises:
      BundleError: when it is none; names it.
    """
    text = read_file(folder, path, MAX_JSON)
    try:
        return parse_json(text)
    except (ValueError, RecursionError) as e:
        said = f"is not JSON ({type(e).__name__}: {e!s:.80})"
        raise BundleError(f"{os.fspath(folder)}/{path}: {said}") from None


def parse_json(text: bytes) -> Any:
    """Parses JSON of finite numbers, without a key that is there twice, MAX_DEPTH levels deep.

    Raises:
      ValueError, RecursionError: when it is something else.
    """

    def refuse(number: str) -> NoReturn:
        raise ValueError(f"{number} is no JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(made := dict(pairs)) < len(pairs):
            raise ValueError("a key is there twice")
        return made

    value = json.loads(text, parse_constant=refuse, object_pairs_hook=unique)
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for v in level if isinstance(v, dict | list) for inner in _inside(v)]
    if any(isinstance(v, dict | list) for v in level):
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    return value


def read_object(folder: str | os.PathLike[str], path: str) -> dict[str, Any]:
    """Reads a JSON document of a bundle that is an object, as `read_json` does."""
    value = read_json(folder, path)
    if not isinstance(value, dict):
        said = f"expected an object, got {type(value).__name__}"
        raise BundleError(f"{os.fspath(folder)}/{path}: {said}")
    return value


def manifest_bytes(folder: Path, paths: Iterable[str]) -> bytes:
    """Builds the manifest of `paths` below `folder`: a byte string that stands for these files."""
    files = [
        {"path": p, "sha256": _sha256(folder, p), "size": (folder / p).stat().st_size}
        for p in sorted(paths)
    ]
    return _canonical({"format_version": FORMAT_VERSION, "files": files})


def bundle_id(folder: str | os.PathLike[str]) -> str:
    """Returns `'sha256:...'`, the digest of the manifest; the files are not looked at.

    Raises:
      BundleError: when there is no manifest to read.
    """
    try:
        return "sha256:" + hashlib.sha256(read_file(folder, MANIFEST, MAX_JSON)).hexdigest()
    except BundleError as e:
        raise BundleError(f"{folder} is no bundle: {str(e).removeprefix(f'{folder}/')}") from None


def find_faults(folder: str | os.PathLike[str]) -> list[str]:
    """Lists how the files of a bundle differ from those in its manifest; [] if they do not."""
    try:
        text = read_file(folder, MANIFEST, MAX_JSON)
        manifest = read_object(folder, MANIFEST)
        version = manifest["format_version"]
        if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
            return [
                f"{MANIFEST}: bundle format {version!r:.40}, but this loader reads up to "
                f"{FORMAT_VERSION}; update lepton_jax"
            ]
        files = [(f["path"], f["size"], f["sha256"]) for f in manifest["files"]]
        if any((type(p), type(n), type(d)) != (str, int, str) for p, n, d in files):
            raise TypeError("a file is a path, a size and a digest")
        listed = {path: (size, digest) for path, size, digest in files}
        canonical = text == _canonical(manifest) and len(listed) == len(files)
        there = _entries(Path(folder))
    except BundleError as e:
        return [str(e).removeprefix(f"{folder}/")]
    except OSError as e:
        return [f"{_printable(os.fspath(e.filename or folder))}: {e.strerror}"]
    except _UNREADABLE as e:
        return [f"{MANIFEST}: cannot be read as a manifest ({type(e).__name__}: {e!s:.80})"]
    found = {} if canonical else {MANIFEST: "has been edited"}
    found |= {p: there[p] for p in sorted(there) if there[p]}
    extra = sorted(there.keys() - listed.keys() - UNLISTED)
    found |= {p: NOT_LISTED for p in extra if not there[p]}
    for path, (size, digest) in listed.items():
        if path not in there:  # a path that leads out of the folder is never among `there`
            found[path] = "missing"
        elif not there[path] and (fault := _fault_of_file(Path(folder), path, size, digest)):
            found[path] = fault
    return [f"{_printable(path)}: {fault}" for path, fault in found.items()]


def load_bundle(
    folder: str | os.PathLike[str], expected_id: str | None = None, program: str = "stablehlo"
) -> "Bundle":
    """Loads a bundle, ready to answer; every file is checked against the manifest first.

    Args:
      expected_id: the id that the bundle must have, where it is known, e.g. from a registry.
      program: 'stablehlo' or 'onnx', which needs onnxruntime and no jax.

    Raises:
      BundleError: when a file is missing, extra or changed, or it is another bundle, or it has no
        such program.
    """
    faults, identity = find_faults(folder), bundle_id(folder)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise BundleError(f"the bundle in {folder} is damaged: {faults[0]}{more}")
    if expected_id is not None and identity != expected_id:
        raise BundleError(f"{folder} holds {identity}, expected {expected_id}")
    return Bundle(Path(folder), identity, program)


def find_default_program(folder: str | os.PathLike[str]) -> str:
    """Returns which program the verdict about a bundle found to be faster on a CPU: 'stablehlo'
    where there is no verdict, it is about another bundle, or there is one program only.
    """
    try:
        verdict = read_object(folder, VERDICT)
        onnx = read_object(folder, "signature.json")["programs"]["onnx"]
        measured = verdict["ok"] is True and verdict["id"] == bundle_id(folder)
        faster = measured and verdict["default_program_on_cpu"] == "onnx"
        return "onnx" if faster and "path" in onnx else "stablehlo"
    except (BundleError, *_UNREADABLE):
        return "stablehlo"


def open_onnx(
    folder: str | os.PathLike[str], said: Mapping[str, Any]
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Opens the ONNX program in a folder; returns the function from inputs to outputs by name.

    It computes in one thread: for one example two are no faster.

    Args:
      said: what the signature says of it.

    Raises:
      BundleError: when onnxruntime is not installed, or cannot read it.
    """
    try:
        import onnxruntime
    except ImportError:
        raise BundleError("the program 'onnx' needs the package 'onnxruntime'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    where = "session.model_external_initializers_file_folder_path"
    options.add_session_config_entry(where, os.fspath(folder))
    model = read_file(folder, said["path"])
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as e:  # noqa: BLE001  onnxruntime's errors have no class in common
        first = str(e).splitlines()[0]
        raise BundleError(f"onnxruntime cannot read {said['path']}: {first:.200}") from None
    used = {i.name for i in session.get_inputs()}
    names = [(field, name) for field, name in said["inputs"].items() if name in used]
    outputs = dict(said["outputs"])

    def answer(inputs: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: inputs[field] for field, name in names}
        try:
            return dict(zip(outputs, session.run(list(outputs.values()), given), strict=True))
        except Exception as e:  # noqa: BLE001
            first = str(e).splitlines()[0]
            raise BundleError(f"onnxruntime cannot run {said['path']}: {first:.200}") from None

    return answer


class Bundle:
    """An intact bundle.

    `predict` maps raw inputs to answers. `decode` makes an input of an image file and `encode` one
    of a text; `text` turns tokens back into a text.
    """

    def __init__(self, folder: Path, identity: str, program: str = "stablehlo"):
        self.folder = folder
        self.id = identity
        self.signature = read_object(folder, "signature.json")
        try:
            _check_signature(self.signature)
        except _UNREADABLE as e:
            said = f"is no signature ({type(e).__name__}: {e!s:.80})"
            raise BundleError(f"{folder}/signature.json: {said}") from None
        self.answer: str = self.signature.get("answer", "numbers")
        self.labels: list[str] = self.signature["labels"]
        self._inputs: dict[str, Any] = self.signature["inputs"]
        self.program = program
        self._program: dict[str, Any] = self.signature["programs"].get(program) or {}
        if "path" not in self._program:
            why = self._program.get("unavailable", "it has none")
            raise BundleError(f"{folder} has no program {program!r:.40}: {why!s:.300}")
        self._forward: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Computes answers to raw inputs.

        Args:
          inputs: a batch of every input of the signature, e.g. `{'image': [B, H, W, C]}`.

        Returns:
          Every output, e.g. `{'probabilities': [B, K], 'label': [B]}`.

        Raises:
          InputError: when names, dtypes or shapes are not those of the signature.
          BundleError: when the program cannot be run by this jax, or an answer is NaN, which is
            no class.
        """
        count = self._check(inputs)
        parts = []
        for start in range(0, count, MAX_BATCH):
            size = min(MAX_BATCH, count - start)
            padded = 1 << (size - 1).bit_length()
            # Rows are independent, so any row will do as padding: the last one is repeated.
            rows = np.minimum(np.arange(start, start + padded), start + size - 1)
            answers = self._run({name: x[rows] for name, x in inputs.items()})
            parts.append({name: np.asarray(y)[:size] for name, y in answers.items()})
        outputs = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        if self.answer == "class":
            bad = np.isnan(outputs["probabilities"]).reshape(count, -1).any(-1)
            if bad.any():  # its `label` would be 0
                raise BundleError(f"the answer to input {bad.argmax()} is NaN, and no class")
        return outputs

    def decode(self, image: str | os.PathLike[str] | bytes) -> np.ndarray:
        """Decodes an image file, or its bytes, to the uint8 `[H, W, C]` of the signature.

        Raises:
          InputError: when it cannot be read as an image, or the bundle takes none.
        """
        from PIL import Image

        decoding = self.signature.get("decoding")
        if not decoding:
            raise InputError(f"this bundle takes no image files; it takes {self._wanted()}")
        named = "the image" if isinstance(image, bytes) else os.fspath(image)
        source = io.BytesIO(image) if isinstance(image, bytes) else image
        try:
            with Image.open(source) as opened:
                if opened.mode.startswith(("I", "F")):
                    raise InputError(f"{named}: {opened.mode!r} pixels; expected 8 bits a channel")
                picture = opened.convert("L" if opened.mode in ("1", "L", "LA") else "RGB")
                picture = _upright(opened, picture)
        except InputError:
            raise
        except Exception as e:  # noqa: BLE001  Pillow's readers raise anything on damaged files
            reason = getattr(e, "strerror", None) or "not an image that can be decoded"
            raise InputError(f"cannot read {named}: {reason}") from None
        for name, arguments in decoding["steps"]:
            if name not in DECODERS:
                raise BundleError(f"the signature's decoding step {name!r:.60} is unknown here")
            try:
                picture = DECODERS[name](picture, **arguments)
            except InputError:
                raise
            except (TypeError, ValueError, MemoryError) as e:
                raise BundleError(f"the signature's decoding step {name}: {e}") from None
        array = np.asarray(picture)
        return array[..., None] if array.ndim == 2 else array

    @property
    def takes_text(self) -> bool:
        return bool(self.signature.get("text"))

    def encode(self, *texts: str) -> tuple[dict[str, np.ndarray], bool]:
        """Encodes a text, or a pair of texts, as the inputs of one example.

        Returns:
          The inputs without a batch axis, and whether the text was truncated.

        Raises:
          InputError: when the bundle takes no text or another number of them, or the text has too
            many tokens and the signature does not say that it is truncated.
        """
        how = self.signature.get("text")
        if not how:
            raise InputError(f"this bundle takes no texts; it takes {self._wanted()}")
        if len(texts) != (2 if how["pair"] else 1):
            expected = "two texts, with a tab between," if how["pair"] else "one text"
            raise InputError(f"this bundle takes {expected} an example; got {len(texts)}")
        tokenizer, size, goes_on = self._tokenizer, int(how["size"]), bool(how.get("goes_on"))
        tokenizer.no_truncation()
        encoded = tokenizer.encode(*texts, add_special_tokens=not goes_on)
        ids, kinds, count = encoded.ids, encoded.type_ids, len(encoded.ids)
        if goes_on:  # the next token is asked for, and has a place of its own
            ids = self.prompt(*texts)
            count = len(ids) + 1
            kinds = [0] * len(ids)
        cut = count > size
        if cut and how["long"] != "truncate":
            raise InputError(f"the text has {count} tokens, more than the bundle's {size}")
        if cut:
            tokenizer.enable_truncation(size)
            encoded = tokenizer.encode(*texts)
            ids, kinds, count = encoded.ids, encoded.type_ids, len(encoded.ids)
        if not ids:
            if how.get("unknown") is None:
                raise InputError(
                    "the text has no token, and the tokenizer has no token for unknown text"
                )
            ids, kinds, count = [how["unknown"]], [0], 1 + goes_on
        tokens = np.full(size, how["pad"], np.int32)
        kinds_of = np.zeros(size, np.int32)
        tokens[: len(ids)], kinds_of[: len(ids)] = ids, kinds
        parts = {"tokens": tokens, "length": np.asarray(count, np.int32), "kinds": kinds_of}
        return {field: parts[part] for part, field in how["inputs"].items()}, cut

    def prompt(self, text: str) -> list[int]:
        """Encodes the beginning of a text that is to go on: with a begin token, without an end."""
        begin = self.signature["text"]["begin"]
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids if begin is None else [begin, *ids]

    def text(self, tokens: Sequence[int] | np.ndarray) -> str:
        """Decodes tokens to their text, without special tokens."""
        return self._tokenizer.decode(list(map(int, tokens)))

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise BundleError("a bundle with texts needs the package 'tokenizers'") from None
        try:
            tokenizer = Tokenizer.from_str(read_file(self.folder, "tokenizer.json").decode())
        except BundleError:
            raise
        except Exception as e:  # noqa: BLE001  the library raises nothing narrower
            raise BundleError(f"{self.folder}/tokenizer.json: {e!s:.200}") from None
        tokenizer.no_padding()
        return tokenizer

    def examples(self) -> dict[str, dict[str, np.ndarray]]:
        """Reads what the exporter's model answered to a few examples, and the truth.

        Returns:
          `{'inputs': {...}, 'outputs': {...}, 'truth': {...}}`, each of arrays by field `[E, ...]`.

        Raises:
          BundleError: when they are not inputs of the signature.
        """
        path = "examples/examples.safetensors"
        groups: dict[str, dict[str, np.ndarray]] = {"inputs": {}, "outputs": {}, "truth": {}}
        for name, array in self._arrays(path).items():
            group, _, field = name.partition(".")
            groups.setdefault(group, {})[field] = array
        counts = {x.shape[:1] for fields in groups.values() for x in fields.values()}
        try:
            if len(groups) != 3 or len(counts) != 1:
                raise InputError("expected inputs, outputs and truth of the same examples")
            self._check(groups["inputs"])
        except InputError as e:
            raise BundleError(f"{self.folder}/{path}: {e}") from None
        return groups

    def _arrays(self, path: str) -> dict[str, np.ndarray]:
        from safetensors import SafetensorError
        from safetensors.numpy import load as load_safetensors

        try:
            return load_safetensors(read_file(self.folder, path))
        except (SafetensorError, *_UNREADABLE) as e:
            raise BundleError(f"{self.folder}/{path}: {type(e).__name__}: {e!s:.200}") from None

    def _check(self, inputs: Mapping[str, np.ndarray]) -> int:
        if inputs.keys() != self._inputs.keys():
            raise InputError(f"expected inputs {self._wanted()}, got {', '.join(inputs) or 'none'}")
        for name, declared in self._inputs.items():
            x = inputs[name]
            if x.dtype != np.dtype(declared["dtype"]) or list(x.shape[1:]) != declared["shape"]:
                raise InputError(
                    f"input {name!r}: expected {_described(declared)}, got {x.dtype} "
                    f"[{', '.join(map(str, x.shape))}]"
                )
        counts = {len(x) for x in inputs.values()}
        if len(counts) != 1 or counts == {0}:
            raise InputError(f"inputs must hold the same number of examples, >= 1; got {counts}")
        return counts.pop()

    def _wanted(self) -> str:
        return ", ".join(f"{name!r}: {_described(d)}" for name, d in self._inputs.items())

    def _run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
        if self.program == "onnx":
            if self._forward is None:
                self._forward = open_onnx(self.folder, self._program)
            return self._forward(inputs)
        import jax

        try:
            with jax.enable_x64(bool(self._program.get("x64"))):
                if self._forward is None:
                    self._forward = self._loaded()
                return self._forward(inputs)
        except (jax.errors.JaxRuntimeError, ValueError) as e:
            raise BundleError(f"{self._origin()}: {str(e).splitlines()[0]}") from None

    def _loaded(self) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        import jax
        from jax import export

        weights = self._arrays(WEIGHTS)
        blob = read_file(self.folder, self._program["path"])
        try:
            exported = export.deserialize(bytearray(blob))
        except _UNREADABLE as e:
            raise BundleError(f"{self._origin()}: {type(e).__name__}: {e!s:.200}") from None
        call = jax.jit(exported.call)
        on_device = jax.device_put(weights)
        return lambda inputs: call(on_device, dict(inputs))

    def _origin(self) -> str:
        import jax

        return (
            f"the program in {self.folder} was exported by jax {self._program.get('jax')} on "
            f"{self._program.get('exported')}; jax {jax.__version__} cannot run it"
        )


def _inside(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _upright(opened: Any, picture: Any) -> Any:
    """Turns the picture of an opened file upright, as EXIF says; damaged EXIF says nothing."""
    try:
        turn = _TURNS.get(opened.getexif().get(0x0112))
    except Exception:  # noqa: BLE001  what Pillow raises on damaged EXIF
        turn = None
    return picture if turn is None else picture.transpose(turn)


def _resize(picture: Any, height: int, width: int) -> Any:
    from PIL import Image

    if picture.size == (width, height):
        return picture
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def _resize_shorter(picture: Any, size: int) -> Any:
    width, height = picture.size
    shorter = min(width, height)
    return _resize(picture, round(height * size / shorter), round(width * size / shorter))


def _center_crop(picture: Any, height: int, width: int) -> Any:
    if picture.width < width or picture.height < height:
        raise InputError(
            f"the image is {picture.height} x {picture.width}, smaller than the {height} x {width} "
            "that the bundle's decoding crops"
        )
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _mode(picture: Any, mode: str) -> Any:
    return picture if picture.mode == mode else picture.convert(mode)


DECODERS: dict[str, Callable[..., Any]] = {
    "center_crop": _center_crop,
    "mode": _mode,
    "resize": _resize,
    "resize_shorter": _resize_shorter,
}
"""The decoding steps that a signature may declare. Other loaders implement these by this table:
bilinear with antialiasing (Pillow's), of the shorter side too, a centred window, and a Pillow mode
('L', 'RGB')."""


def _check_signature(signature: Mapping[str, Any]) -> None:
    """Raises one of `_UNREADABLE` when what the loader reads of a signature is of another form."""

    def check(fits: bool, what: str) -> None:
        if not fits:
            raise ValueError(what)

    def whole(x: Any, most: int) -> bool:
        return type(x) is int and 0 <= x <= most

    check(isinstance(signature.get("answer", ""), str), "answer: expected a text")
    labels = signature["labels"]
    check(isinstance(labels, list) and all(isinstance(x, str) for x in labels), "labels: no texts")
    program = signature["programs"]["stablehlo"]
    check(isinstance(program["path"], str), "programs.stablehlo.path: expected a text")
    onnx = signature["programs"].get("onnx", {})
    check(isinstance(onnx, dict), "programs.onnx: expected an object")
    if "path" in onnx:
        texts = [onnx["path"], *onnx["inputs"].values(), *onnx["outputs"].values()]
        check(all(isinstance(x, str) for x in texts), "programs.onnx: expected texts")
        check(set(onnx["inputs"]) <= set(signature["inputs"]), "programs.onnx.inputs: no input")
    inputs = signature["inputs"]
    check(isinstance(inputs, dict) and bool(inputs), "inputs: there are none")
    for name, declared in inputs.items():
        shape = declared["shape"]
        fits = isinstance(shape, list) and all(whole(n, _MOST_ELEMENTS) for n in shape)
        fits = fits and len(shape) <= 8 and math.prod(shape) <= _MOST_ELEMENTS
        check(fits, f"inputs.{name}.shape: {shape!r:.60}")
        np.dtype(declared["dtype"])
    if decoding := signature.get("decoding"):
        check(decoding["input"] in inputs, "decoding.input: is no input")
        for name, arguments in decoding["steps"]:
            check(isinstance(name, str) and isinstance(arguments, dict), "decoding.steps: a step")
            sizes = (v for v in arguments.values() if not isinstance(v, str))
            check(all(whole(n, _LONGEST_SIDE) and n for n in sizes), "decoding.steps: a size")
    if text := signature.get("text"):
        check(whole(text["size"], _MOST_ELEMENTS) and text["size"] > 0, "text.size: no size")
        shapes = {"tokens": [text["size"]], "kinds": [text["size"]], "length": []}
        for part, field in text["inputs"].items():
            check(inputs[field]["shape"] == shapes[part], f"text.inputs.{part}: another shape")
        numbers = (text["pad"], text.get("unknown") or 0, text.get("begin") or 0)
        check(all(whole(n, 2**31 - 1) for n in numbers), "text: a token is no token")
        check({"pair", "long"} <= text.keys(), "text: needs 'pair' and 'long'")


def _entries(folder: Path) -> dict[str, str]:
    """Returns the paths of all that lies below a folder but folders, each with what is wrong with
    its kind; '' of a plain file."""
    found: dict[str, str] = {}
    folders, seen = [""], 0
    while folders:
        below = folders.pop()
        with os.scandir(folder / below) as entries:
            for entry in entries:
                seen += 1
                if seen > MAX_FILES:
                    raise BundleError(f"holds more than {MAX_FILES} files")
                path = f"{below}{entry.name}"
                if entry.is_symlink():
                    found[path] = "is a link"
                elif entry.is_dir():
                    folders.append(f"{path}/")
                else:
                    found[path] = "" if entry.is_file() else "is no plain file"
    return found


def _fault_of_file(folder: Path, path: str, size: int, digest: str) -> str:
    """Says how a file differs from its size and digest in the manifest; '' if it does not."""
    try:
        actual = (folder / path).lstat().st_size
        if actual != size:
            return f"{actual} bytes, but the manifest says {size}"
        same = _sha256(folder, path) == digest
    except OSError as e:
        return str(e.strerror)
    return "" if same else "its bytes have changed (SHA-256 differs)"


def _printable(path: str) -> str:
    """Returns a file's name as a terminal may have it: with its odd characters escaped."""
    return path if path.isprintable() and len(path) <= 200 else ascii(path)[:200]


def _sha256(folder: Path, path: str) -> str:
    digest = hashlib.sha256()
    with open_inside(folder, path) as f:
        while piece := f.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _canonical(manifest: Any) -> bytes:
    return (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()


def _described(declared: Mapping[str, Any]) -> str:
    return f"{declared['dtype']} [{', '.join(map(str, ['batch', *declared['shape']]))}]"
