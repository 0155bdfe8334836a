"""The structure that a reader may rely on: arrows, names, sizes and the documented walk."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "lepton_jax"

ROOMS = [
    "version", "nearest", "errors", "console", "installation", "formats", "tables", "result",
    "trees", "serving", "io", "config", "perf", "nn", "boxes", "metrics", "answers", "models",
    "transforms",
    "data", "tasks", "placement", "cluster", "tracking", "reference", "evaluation",
    "plots", "training", "debug", "plan", "archive", "signing", "isolation",
    "registry", "replay", "export", "prediction", "generation", "deployment", "improvement",
    "monitoring", "explanation",
    "ablation",
    "notebook", "cli", "commands", "api", "__main__",
]  # fmt: skip
"""Folders and files right below `lepton_jax/`: each imports only what stands before it."""

ALONE = {"serving"}
"""Rooms that import nothing of the package: production installs them alone."""

DEPTH = 14
"""Rooms on the longest chain of imports."""

MOST_LINES = 400


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its name below `lepton_jax`; '' is the package itself."""
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of the package that `module` imports anywhere: inside functions and for types
    alone as well."""
    there = set()
    for node in ast.walk(ast.parse(modules()[module].read_text())):
        if isinstance(node, ast.Import):
            there |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            # A room that stands alone may be copied under another name.
            assert node.level == (room_of(module) in ALONE and node.level), f"{module}: relative"
            source = _absolute(module, node) if node.level else node.module
            for name in node.names:
                submodule = f"{source}.{name.name}".partition(".")[2]
                there.add(f"{source}.{name.name}" if submodule in modules() else source)
    below = {name.partition(".")[2] for name in there if name.split(".")[0] == "lepton_jax"}
    return frozenset(below - {module})


def _absolute(module: str, node: ast.ImportFrom) -> str:
    """The name of the module that a relative import in `module` names; never above its room."""
    package = module.split(".") if modules()[module].stem == "__init__" else module.split(".")[:-1]
    assert node.level <= len(package), f"{module}: leaves its room"
    parts = [*package[: len(package) - node.level + 1], *filter(None, [node.module])]
    return ".".join(["lepton_jax", *parts])


def room_of(module: str) -> str:
    return module.split(".")[0]


def test_every_file_has_a_room():
    assert {room_of(module) for module in modules()} <= {*ROOMS, ""}


def test_arrows_point_down_the_list():
    wrong = [
        f"{module} imports {other}"
        for module in modules()
        for other in sorted(imports(module))
        if module and other and (room := room_of(module)) != (target := room_of(other))
        and (room in ALONE or ROOMS.index(target) > ROOMS.index(room))
    ]  # fmt: skip
    assert not wrong, "\n".join(wrong)


def test_ablation_points_one_way_from_the_question_to_the_report():
    order = [
        "question", "workdir", "same_experiment", "run", "analysis", "report", "ablate", "dry_run",
        "reproduce",
    ]  # fmt: skip
    place = {f"ablation.{part}": i for i, part in enumerate(order)}

    def part_of(module: str) -> str:
        return ".".join(module.split(".")[:2])

    wrong = [
        f"{module} imports {other}"
        for module in modules()
        for other in sorted(imports(module))
        if place.get(part_of(other), -1) > place.get(part_of(module), len(order))
        or (part_of(module), part_of(other)) == ("ablation.analysis", "ablation.run")
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_by_way_of_others():
    cycles = [path for path in _paths() if path[-1] in path[:-1]]
    assert not cycles, "\n".join(" -> ".join(path) for path in cycles)


def _paths() -> Iterator[tuple[str, ...]]:
    """Yields, for each import that leads back to a module that is being imported, the way."""
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if module in way:
            yield (*way[way.index(module) :], module)
        elif module not in done:
            for other in sorted(imports(module)):
                yield from visit(other, (*way, module))
            done.add(module)

    for module in modules():
        yield from visit(module, ())


def test_rooms_lie_few_deep():
    @cache
    def depth(room: str) -> int:
        below = {
            room_of(other)
            for module in modules()
            if room_of(module) == room
            for other in imports(module)
        }
        return 1 + max((depth(other) for other in below - {room, ""}), default=0)

    assert max(depth(room) for room in ROOMS) <= DEPTH


def test_no_public_class_has_the_name_of_another():
    places = defaultdict(list)
    for module, path in modules().items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module)
    assert not {name: where for name, where in places.items() if len(where) > 1}


COMMANDS = {path.stem for path in (PACKAGE / "commands").glob("*.py")}
TWICE = {"main", "run_line", "read_json", "read_object", "random_resized_crop"}
"""Names that two functions have for a reason: what runs a command line, here and in a job; the
loader's, which imports nothing of the package; one transform's on the host and on the device."""


def test_no_public_function_has_the_name_of_another():
    """A command's file has the name of what it calls."""
    places: dict[str, list[str]] = defaultdict(list)
    for module, path in modules().items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                places[node.name].append(module)
    free = COMMANDS | TWICE
    twice = {name: there for name, there in places.items() if len(there) > 1 and name not in free}
    assert not twice


def test_no_file_holds_two_ideas():
    long = {
        module: lines for module in modules() if (lines := _lines(modules()[module])) > MOST_LINES
    }
    assert not long


def _lines(path: Path) -> int:
    return path.read_text().count("\n")


def test_the_loop_can_be_read_at_once():
    tree = ast.parse((PACKAGE / "training/loop.py").read_text())
    run = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name.startswith("run"))
    assert run.end_lineno is not None
    assert run.end_lineno - run.lineno < 80


def test_the_documented_walk_is_short_and_its_files_are_there():
    text = (ROOT / "docs/reading.md").read_text()
    files = re.findall(r"^\d+\. \[`(\S+?)`\]", text, re.M)
    assert 7 <= len(files) <= 12
    assert sum(_lines(ROOT / file) for file in files) <= 1900


def test_a_training_run_imports_no_table_of_hugging_face_and_draws_nothing_beforehand():
    code = (
        "import sys, lepton_jax.training.train\n"
        "wrong = [m for m in sys.modules if m.startswith('lepton_jax.models.hugging_face.')\n"
        "         or m in ('matplotlib', 'mlflow', 'sklearn', 'tensorflow', 'tokenizers')]\n"
        "sys.exit(', '.join(wrong) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
