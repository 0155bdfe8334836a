"""The arrows between the parts, and no cycles: what a reader may rely on."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "lepton_jax"
ROOMS = {
    # a part of the package: what else of the package it may import when it is loaded
    "errors": set(),
    "answers": set(),
    "boxes": set(),
    "pipeline": set(),
    "reduce": set(),
    "noise": set(),
    "memory": set(),
    "chips": set(),
    "flops": set(),
    "schema": {"errors"},
    "components": {"errors"},
    "config": {"schema", "components"},
    "validation": {"errors", "schema", "config", "pipeline"},
    "hyper": {"schema", "config", "validation"},
    "config_file": {"errors", "config", "validation"},
    "ops": set(),
    "decoding": {"schema"},
    "transforms": {"boxes", "errors", "noise", "reduce", "schema"},
    "data": {"boxes", "errors", "schema", "components", "validation"},
    "placement": {"errors", "reduce", "schema"},
    "cluster": {"errors"},
    "models": {"errors", "ops", "noise", "reduce", "schema"},
    "tasks": {
        "boxes", "decoding", "errors", "noise", "schema", "data", "evaluation", "models",
    },
    "tracking": {"errors", "config", "schema"},
    "evaluation": {
        "errors", "schema", "config", "validation", "data", "training", "tracking",
    },
    "training": {
        "errors", "schema", "config", "components", "validation", "hyper", "data", "noise",
        "reduce", "memory", "models", "tracking", "evaluation", "placement", "cluster", "chips",
        "flops", "answers",
    },
    "ablation": {
        "errors", "config", "validation", "config_file", "hyper", "data", "tracking", "training",
        "evaluation", "components", "schema", "cluster",
    },
    "debug": {"errors", "config", "validation", "data", "tracking", "training"},
    "plan": {"errors", "config", "validation", "data", "evaluation", "training", "chips", "flops"},
    "serving": set(),
    "export": {
        "answers", "errors", "pipeline", "serving", "validation", "data", "tracking", "training",
    },
    "registry": {"errors", "serving", "export", "tracking"},
    "predicted_objects": set(),
    "predict": {"predicted_objects", "errors", "serving", "registry"},
    "api": {"config", "errors", "validation"},
    "generate": {"errors", "schema"},
    "cli": {"errors"},
}  # fmt: skip


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Modules of the package that `path` imports when it is loaded."""
    found: set[str] = set()
    todo: list[ast.AST] = list(ast.parse(path.read_text()).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lepton_jax"):
            assert node.module is not None
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                is_module = (PACKAGE.parent / Path(*whole.split("."))).with_suffix(".py").exists()
                found.add(whole if is_module else node.module)
        elif isinstance(node, ast.If | ast.Try):
            todo += ast.iter_child_nodes(node)
    return found


def graph() -> dict[str, set[str]]:
    files = {module_of(p): p for p in PACKAGE.rglob("*.py")}
    return {name: imports(path) & files.keys() for name, path in files.items()}


def test_arrows_point_one_way():
    for module, imported in graph().items():
        room = module.split(".")[1] if "." in module else ""
        if not room:
            continue
        for other in imported - {"lepton_jax"}:
            target = other.split(".")[1]
            assert target == room or target in ROOMS[room], f"{module} imports {other}"


def test_no_import_cycles():
    edges, state = graph(), {}

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert state.get(module) != "open", " -> ".join([*path, module])
        if module in state:
            return
        state[module] = "open"
        for other in edges[module]:
            visit(other, (*path, module))
        state[module] = "done"

    for module in edges:
        visit(module, ())


def test_no_file_holds_two_ideas():
    for path in PACKAGE.rglob("*.py"):
        lines = path.read_text().count("\n")
        assert lines <= 450, f"{path.name} has {lines} lines"


def test_the_loop_can_be_read_at_once():
    tree = ast.parse((PACKAGE / "training/loop.py").read_text())
    run = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "run")
    assert run.end_lineno is not None
    assert run.end_lineno - run.lineno < 100
