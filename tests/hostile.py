"""Mutations of a bundle, as damage, mistakes and forgers make them: each a name and a function.

A mutation changes a bundle in place and returns whether its manifest was written anew around it, so
that the digests are right. Nothing may be accepted that is not what it says it is.
"""

import contextlib
import hashlib
import json
import os
import random
import shutil
import socket
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lepton_jax.serving import loader

Mutation = Callable[[Path, random.Random, Path], bool]
"""`mutate(bundle, rng, outside)` -> is the manifest right again? `outside` holds canaries."""


def files_of(bundle: Path) -> list[Path]:
    return sorted(p for p in bundle.rglob("*") if p.is_file() and not p.is_symlink())


def payload_of(bundle: Path) -> list[Path]:
    return [p for p in files_of(bundle) if p.name not in loader.UNLISTED]


def rewrite_manifest(bundle: Path) -> None:
    """Writes the manifest of all that is there as a forger would, without the loader's checks."""
    files = [
        {
            "path": p.relative_to(bundle).as_posix(),
            "sha256": hashlib.sha256(p.read_bytes()).hexdigest(),
            "size": p.stat().st_size,
        }
        for p in payload_of(bundle)
    ]
    write_manifest(bundle, files)


def write_manifest(bundle: Path, files: Any, version: Any = 1) -> None:
    text = json.dumps({"files": files, "format_version": version}, indent=1, sort_keys=True) + "\n"
    (bundle / loader.MANIFEST).write_text(text)


def listed(bundle: Path) -> list[dict[str, Any]]:
    return json.loads((bundle / loader.MANIFEST).read_text())["files"]


def flip_bits(bundle: Path, rng: random.Random, outside: Path) -> bool:
    path = rng.choice(payload_of(bundle))
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 1, 8])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    changed = bytes(data) != path.read_bytes()
    path.write_bytes(bytes(data))
    if not changed:
        path.write_bytes(bytes(data) + b"x")
    return False


def truncate(bundle: Path, rng: random.Random, outside: Path) -> bool:
    path = rng.choice(files_of(bundle))
    if path.name == loader.VERDICT:
        path = bundle / loader.MANIFEST
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data))])
    return False


def append(bundle: Path, rng: random.Random, outside: Path) -> bool:
    path = rng.choice([*payload_of(bundle), bundle / loader.MANIFEST])
    path.write_bytes(path.read_bytes() + rng.randbytes(rng.randrange(1, 50)))
    return False


def swap(bundle: Path, rng: random.Random, outside: Path) -> bool:
    one, other = rng.sample(payload_of(bundle), 2)
    a, b = one.read_bytes(), other.read_bytes()
    one.write_bytes(b)
    other.write_bytes(a if a != b else a + b"x")
    return False


def rename(bundle: Path, rng: random.Random, outside: Path) -> bool:
    path = rng.choice(payload_of(bundle))
    name = rng.choice(
        [
            path.name.upper(),
            path.name + " ",
            "ｆｏｒｗａｒｄ.bin",
            "é.json",
            "e\u0301.json",
            "a\nb.json",
        ]
    )
    path.rename(path.parent / (name if name != path.name else name + "2"))
    return False


def delete(bundle: Path, rng: random.Random, outside: Path) -> bool:
    rng.choice([*payload_of(bundle), bundle / loader.MANIFEST]).unlink()
    return False


def delete_folder(bundle: Path, rng: random.Random, outside: Path) -> bool:
    shutil.rmtree(rng.choice([p for p in bundle.iterdir() if p.is_dir()]))
    return False


def add(bundle: Path, rng: random.Random, outside: Path) -> bool:
    folder = rng.choice([bundle, bundle / "examples", bundle / "programs"])
    names = ["x.py", "jax.py", ".hidden", "VERDICT.json", "\x1b[2Jx", "x" * 255, "\udcff", "a\nb"]
    with open(os.path.join(folder, rng.choice(names)), "wb") as f:
        f.write(rng.randbytes(9))
    return False


def link_out(bundle: Path, rng: random.Random, outside: Path) -> bool:
    path = rng.choice(files_of(bundle))
    target = outside / "copy"
    shutil.copyfile(path, target)
    path.unlink()
    path.symlink_to(rng.choice([target, os.path.relpath(target, path.parent)]))
    return False


def link_out_to_a_canary(bundle: Path, rng: random.Random, outside: Path) -> bool:
    path = rng.choice([*files_of(bundle), bundle / loader.VERDICT])
    path.unlink()
    path.symlink_to(rng.choice(["/dev/zero", "/dev/stdin", outside / "canary", outside, "/"]))
    return False


def link_in(bundle: Path, rng: random.Random, outside: Path) -> bool:
    one, other = rng.sample(files_of(bundle), 2)
    one.unlink()
    one.symlink_to(os.path.relpath(other, one.parent))
    return False


def link_to_itself(bundle: Path, rng: random.Random, outside: Path) -> bool:
    path = rng.choice(files_of(bundle))
    path.unlink()
    path.symlink_to(path.name)
    return False


def dangling(bundle: Path, rng: random.Random, outside: Path) -> bool:
    path = rng.choice(files_of(bundle))
    path.unlink()
    path.symlink_to(outside / "made by you")
    return False


def folder_link(bundle: Path, rng: random.Random, outside: Path) -> bool:
    folder = rng.choice([p for p in bundle.iterdir() if p.is_dir()])
    shutil.move(folder, outside / "moved")
    folder.symlink_to(outside / "moved")
    return False


def extra_folder_link(bundle: Path, rng: random.Random, outside: Path) -> bool:
    (bundle / "more").symlink_to(rng.choice([outside, bundle, "/proc/self", ".."]))
    return False


def fifo(bundle: Path, rng: random.Random, outside: Path) -> bool:
    path = rng.choice(files_of(bundle))
    path.unlink()
    os.mkfifo(path)
    return False


def extra_fifo(bundle: Path, rng: random.Random, outside: Path) -> bool:
    os.mkfifo(bundle / rng.choice(["x", "examples/99.png", ".x.part"]))
    return False


def unix_socket(bundle: Path, rng: random.Random, outside: Path) -> bool:
    path = rng.choice(files_of(bundle))
    path.unlink()
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(path.parent)  # an address has room for 107 bytes
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path.name)
    finally:
        os.fchdir(here)
        os.close(here)
    return False


def device(bundle: Path, rng: random.Random, outside: Path) -> bool:
    path = rng.choice(files_of(bundle))
    path.unlink()
    try:
        major_minor = rng.choice([(1, 5), (1, 3), (1, 7), (5, 0)])  # zero, null, full, tty
        os.mknod(path, 0o666 | 0o020000, os.makedev(*major_minor))
    except PermissionError:  # not root
        path.symlink_to("/dev/zero")
    return False


def folder_for_a_file(bundle: Path, rng: random.Random, outside: Path) -> bool:
    path = rng.choice([*payload_of(bundle), bundle / loader.MANIFEST])
    path.unlink()
    path.mkdir()
    return False


def hard_link_out(bundle: Path, rng: random.Random, outside: Path) -> bool:
    """The verdict's file has another name outside: it must not be written into."""
    path = bundle / loader.VERDICT
    path.unlink()
    os.link(outside / "canary", path)
    return False


def sparse(bundle: Path, rng: random.Random, outside: Path) -> bool:
    path = rng.choice([*payload_of(bundle), bundle / loader.MANIFEST])
    with open(path, "r+b") as f:
        f.truncate(10 * 1024**3)
    return False


def unreadable_size(bundle: Path, rng: random.Random, outside: Path) -> bool:
    files = listed(bundle)
    sizes = [-1, 2**64, 10**400, 1.5, 1e308, None, True, "12", [], {}, float("nan")]
    rng.choice(files)["size"] = rng.choice(sizes)
    write_manifest(bundle, files)
    return False


def other_paths(bundle: Path, rng: random.Random, outside: Path) -> bool:
    files, canary = listed(bundle), outside / "canary"
    paths = [
        str(canary), os.path.relpath(canary, bundle), "../" * 30 + "etc/hostname", "/etc/hostname",
        "examples/../signature.json", "./signature.json", "examples//00.png", "", ".", "..", "/",
        "a\0b", "examples", "~/x", "C:\\x", "\udcff", None, 3, ["a"], loader.MANIFEST,
    ]  # fmt: skip
    data = canary.read_bytes()
    entry = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    files.append({"path": rng.choice(paths), **entry})
    write_manifest(bundle, files)
    return False


def twice(bundle: Path, rng: random.Random, outside: Path) -> bool:
    files = listed(bundle)
    files.append(dict(rng.choice(files)))
    write_manifest(bundle, files)
    return False


SHAPES = [
    b"", b"{}", b"[]", b"null", b"0", b'"x"', b"[" * 100_000, b'{"a":' * 5_000, b"\xff\xfe{}",
    b"NaN", b"{'a': 1}", b"1" * 5_000, b'{"format_version": NaN, "files": []}', b"\xef\xbb\xbf{}",
    b'{"files": {}, "format_version": 1}', b'{"files": 7, "format_version": 1}', b"true",
    b'{"files": [[]], "format_version": 1}', b'{"files": [{}], "format_version": 1}', b"]",
    b'{"files": [null], "format_version": 1}', b'{"files": [], "format_version": 1e400}',
    b'{"files": [], "format_version": true}', b'{"files": [], "format_version": "1"}',
]  # fmt: skip


def manifest_of_another_shape(bundle: Path, rng: random.Random, outside: Path) -> bool:
    (bundle / loader.MANIFEST).write_bytes(rng.choice(SHAPES))
    return False


def other_version(bundle: Path, rng: random.Random, outside: Path) -> bool:
    versions = [0, -1, 2, 10**30, 1.0, "1", None, [1], True, {}]
    write_manifest(bundle, listed(bundle), rng.choice(versions))
    return False


def document_of_another_shape(bundle: Path, rng: random.Random, outside: Path) -> bool:
    name = rng.choice(["signature.json", "lineage.json", "signature.json"])
    (bundle / name).write_bytes(rng.choice(SHAPES))
    rewrite_manifest(bundle)
    return True


ODD: list[Any] = [
    None, -1, 0, 2**40, 10**400, 1.5, 1e308, "", "x", "../../x", "/etc/passwd", [], {}, [[]],
    {"a": 1}, True, "é\n\x1b[2J", ["x"] * 3, "os:system", float("nan"), "V99999999999", "O",
]  # fmt: skip


def places(value: Any, found: list[tuple[Any, Any]] | None = None) -> list[tuple[Any, Any]]:
    """Every (container, key) in nested objects and lists."""
    found = [] if found is None else found
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        found.append((value, key))
        if isinstance(inner, dict | list):
            places(inner, found)
    return found


def edit_signature(bundle: Path, rng: random.Random, outside: Path) -> bool:
    """Another value somewhere in signature.json, under a manifest that is right."""
    signature = json.loads((bundle / "signature.json").read_text())
    container, key = rng.choice(places(signature))
    if rng.random() < 0.3:
        del container[key]
    else:
        container[key] = rng.choice(ODD)
    (bundle / "signature.json").write_text(json.dumps(signature))
    rewrite_manifest(bundle)
    return True


def program_outside(bundle: Path, rng: random.Random, outside: Path) -> bool:
    """The signature names a program that lies outside, and is a good one."""
    program = bundle / "programs/stablehlo/forward.bin"
    shutil.copyfile(program, outside / "forward.bin")
    signature = json.loads((bundle / "signature.json").read_text())
    paths = [str(outside / "forward.bin"), os.path.relpath(outside / "forward.bin", bundle)]
    signature["programs"]["stablehlo"]["path"] = rng.choice(paths)
    (bundle / "signature.json").write_text(json.dumps(signature))
    rewrite_manifest(bundle)
    return True


def safetensors_header(bundle: Path, rng: random.Random, outside: Path) -> bool:
    """Weights or examples whose header is of another shape or size."""
    path = bundle / rng.choice(["weights.safetensors", "examples/examples.safetensors"])
    data = path.read_bytes()
    headers = [
        b"\xff" * 8 + data[8:], (2**62).to_bytes(8, "little") + data[8:], b"\0" * 8, data[:7],
        (2).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"[]",
        data.replace(b'"F32"', b'"F64"', 1).replace(b'"I32"', b'"I64"', 1), data[: len(data) // 2],
        data.replace(b"[", b"]", 1), data.replace(b"inputs", b"outsid", 1) + b"\0",
        data.replace(b'"shape":[', b'"shape":[9999999999,', 1),
    ]  # fmt: skip
    path.write_bytes(rng.choice(headers))
    rewrite_manifest(bundle)
    return True


def bad_verdict(bundle: Path, rng: random.Random, outside: Path) -> bool:
    """A verdict that says what nobody has found out; the bundle itself is as it was."""
    good = json.loads((bundle / loader.VERDICT).read_text())
    verdicts: list[Any] = [
        {**good, "id": "sha256:" + "0" * 64}, {**good, "ok": "true"}, {**good, "ok": 1},
        {**good, "ok": False}, {**good, "checks": None}, {**good, "checks": [None]},
        {k: v for k, v in good.items() if k != "checks"}, [], None, "ok", {**good, "id": None},
        {**good, "checks": [{"name": "intact", "ok": False, "detail": ""}]},
    ]  # fmt: skip
    text = json.dumps(rng.choice(verdicts))
    (bundle / loader.VERDICT).write_text(rng.choice([text, text, text[:-1], "[" * 100_000]))
    return False


def many_files(bundle: Path, rng: random.Random, outside: Path) -> bool:
    folder = bundle / "examples" / "more"
    folder.mkdir()
    for i in range(loader.MAX_FILES + 1):
        (folder / str(i)).symlink_to("x")
    return False


def deep_folders(bundle: Path, rng: random.Random, outside: Path) -> bool:
    here = os.open(bundle, os.O_RDONLY)
    try:
        for _ in range(60):  # longer than a path may be
            os.mkdir("d" * 100, dir_fd=here)
            below = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        with open(os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=here), "w") as f:
            f.write("x")
    finally:
        os.close(here)
    return False


def case_variant(bundle: Path, rng: random.Random, outside: Path) -> bool:
    path = rng.choice(payload_of(bundle))
    shutil.copyfile(path, path.parent / path.name.swapcase())
    return False


def no_access(bundle: Path, rng: random.Random, outside: Path) -> bool:
    """The manifest cannot be found below a folder that is a file."""
    files = listed(bundle)
    files[0]["path"] = files[1]["path"] + "/x"
    write_manifest(bundle, files)
    return False


def random_json(bundle: Path, rng: random.Random, outside: Path) -> bool:
    def value(depth: int) -> Any:
        kind = rng.randrange(8 if depth else 6)
        if kind == 6:
            return [value(depth - 1) for _ in range(rng.randrange(4))]
        if kind == 7:
            keys = ["files", "format_version", "path", "size", "sha256", *string.ascii_lowercase]
            return {rng.choice(keys): value(depth - 1) for _ in range(rng.randrange(4))}
        return [None, True, rng.randrange(-9, 2**70), rng.random(), "x", ""][kind]

    document = {"files": value(4), "format_version": rng.choice([1, value(2)])}
    (bundle / loader.MANIFEST).write_text(json.dumps(document))
    return False


MUTATIONS: dict[str, Mutation] = {
    f.__name__: f
    for f in (
        flip_bits, truncate, append, swap, rename, delete, delete_folder, add, link_out,
        link_out_to_a_canary, link_in, link_to_itself, dangling, folder_link, extra_folder_link,
        fifo, extra_fifo, unix_socket, device, folder_for_a_file, hard_link_out, sparse,
        unreadable_size, other_paths, twice, manifest_of_another_shape, other_version,
        document_of_another_shape, edit_signature, program_outside, safetensors_header, bad_verdict,
        many_files, deep_folders, case_variant, no_access, random_json,
    )
}  # fmt: skip


def canaries(outside: Path) -> dict[str, Any]:
    """What must not change outside of the bundle: contents, links, times and modes."""
    found: dict[str, Any] = {}
    for path in sorted(outside.rglob("*")):
        with contextlib.suppress(OSError):
            s = path.lstat()
            content = path.read_bytes() if path.is_file() and s.st_size < 1 << 24 else None
            found[str(path)] = (content, s.st_mode, s.st_mtime_ns, s.st_ino)
    return found
