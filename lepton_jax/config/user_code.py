"""What a user's code raises, as one error that names the part, the line and what the part got.

Imports nothing heavy: components are resolved before JAX is loaded.
"""

import functools
import importlib.util
import inspect
import linecache
import os
import re
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from lepton_jax.errors import UserError, WorkError, describe_error

_MACHINERY = ("jax", "jaxlib", "flax", "optax", "numpy", "lepton_jax")
_INSTALLED = ("site-packages", "dist-packages")
_MISTAKEN_PATHS = (
    FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError,
)  # fmt: skip
TRACEBACK = "traceback.txt"
_PLACE = re.compile(r"^(/\S+\.py):(\d+):\d+ \(.*\)$", re.M)

_CURES = {
    "TracerBoolConversionError": "a traced array has no value: use jnp.where or jax.lax.cond "
    "in place of `if` and `while`",
    "ConcretizationTypeError": "a traced array has no value: use shapes and config keys where a "
    "Python number is needed",
    "TracerIntegerConversionError": "a traced array has no value: use shapes and config keys where "
    "a Python number is needed",
    "TracerArrayConversionError": "use jax.numpy in place of NumPy",
    "UnexpectedTracerError": "a traced array was kept after its step, e.g. in self or in a global",
}


class BrokenPart(UserError):
    """A part that a config names raised an error, which is the cause."""


def blame(
    who: str, error: BaseException, *, got: str = "", at: str = "", cure: str = ""
) -> NoReturn:
    """Raises what a user's part raised as one error of at most two lines.

    Main arguments:
      who: the part, `model my_pkg.nets:Net`.
      error: what it raised; it becomes the cause, whose traceback `keeping_tracebacks` writes.
    Other arguments:
      got: what the part was given, with shapes and dtypes.
      at: where the part is defined, for an error that passed no line of the user's.
      cure: what would likely help.

    Raises:
      BrokenPart: naming the part, the innermost line of the user's, and the error.
      WorkError: when the error is the machine's, such as a network that is down.
    """
    if isinstance(error, UserError | WorkError | MemoryError) or _is_environments(error):
        raise error
    line = users_line(error) or at
    said = f"{who} failed" + (f" at {line}" if line else "") + f": {describe_error(error)}"
    cure = cure or _CURES.get(type(error).__name__, "")
    if "grad requires real- or complex-valued inputs" in str(error):
        cure = "an nnx.Param holds floats, which are trained; keep integers in an nnx.Variable"
    if "nnx.List" in str(error):
        cure = "keep modules in nnx.List([...]) or nnx.Dict({...})"
    more = "; ".join(x for x in (got and f"it got {got}", cure) if x)
    machines = isinstance(error, OSError) and not isinstance(error, _MISTAKEN_PATHS)
    kind = WorkError if machines else BrokenPart
    raise kind(said + (f"\n{more[0].upper()}{more[1:]}" if more else "")) from error


def users_line(error: BaseException | None) -> str:
    """Returns the innermost line of an error that is the user's, `nets.py:12 (code)`; '' for none.

    A line of another installed package is named only where there is none of the user's own files.
    """
    while error is not None:
        passed = [(f.filename, f.lineno or 0) for f in traceback.extract_tb(error.__traceback__)]
        # Of a traced array that was kept, JAX says in the message where it comes from.
        made = [(file, int(line)) for file, line in _PLACE.findall(str(error))]
        frames = [f for f in reversed([*made, *passed]) if not _is_machinery(f[0])]
        own = [f for f in frames if not any(name in f[0] for name in _INSTALLED)]
        for file, number in own or frames:
            code = linecache.getline(file, number).strip()
            return f"{_shown_path(file)}:{number}" + (f" ({code})" if code else "")
        error = error.__cause__ or error.__context__
    return ""


def definition_of(part: Any) -> str:
    """Returns where a class, function or object is defined, `nets.py:7`; '' where not known."""
    function = part if inspect.isroutine(part) else part if inspect.isclass(part) else type(part)
    function = inspect.unwrap(function)
    if inspect.isclass(function):
        function = vars(function).get("__init__", function)
    try:
        file, (_, number) = inspect.getsourcefile(function), inspect.getsourcelines(function)
    except (OSError, TypeError):
        return ""
    return "" if file is None or _is_machinery(file) else f"{_shown_path(file)}:{number}"


def call_mistake(part: Callable[..., Any], args: tuple, kwargs: Mapping[str, Any]) -> str:
    """Returns why a part cannot be called so: `missing a required argument: 'x'`; '' if it can."""
    function: Callable[..., Any] = part
    if inspect.isclass(part):  # nnx's metaclass hides the constructor's signature
        if part.__init__ is object.__init__ and part.__new__ is object.__new__:
            return "takes no arguments" if args or kwargs else ""
        function, args = part.__init__, (None, *args)
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError as e:
        return str(e)
    except ValueError:  # written in C
        return ""
    return ""


@contextmanager
def keeping_tracebacks(workdir: Any = "") -> Iterator[None]:
    """Writes the traceback of a user's code that fails in it, and names the file in the error.

    The file is `traceback.txt` in `workdir`, or in the cache's folder where a command has none.
    """
    try:
        yield
    except UserError as e:
        broken: BaseException | None = e
        while broken is not None and not isinstance(broken, BrokenPart):
            broken = broken.__cause__
        if broken is None or broken.__cause__ is None:
            raise
        path = write_traceback(broken.__cause__, workdir)
        raise e.retold(f"{e}\nTraceback: {path}" if path else str(e)) from None


def write_traceback(error: BaseException, workdir: Any = "") -> str:
    """Writes the traceback of an error to `traceback.txt` in `workdir`, or in the cache's folder.

    Returns the file's path, or '' where it cannot be written: the mistake itself is what counts.
    """
    from lepton_jax.io import files
    from lepton_jax.io.paths import cache_root

    folder = workdir or cache_root()
    path = files.join_path(folder, TRACEBACK)
    try:
        files.make_dir(folder)
        files.write_text(path, "".join(traceback.format_exception(error)))
    except (UserError, WorkError):
        return ""
    return path


@contextmanager
def blaming_users_code(who: str) -> Iterator[None]:
    """Raises one error in place of any other that came through a line of the user's, or that JAX
    raises for what a part did before.

    Raises:
      BrokenPart: as `blame` does.
    """
    try:
        yield
    except Exception as e:
        if users_line(e) or type(e).__name__ in _CURES:
            blame(who, e)
        raise


def _is_environments(error: BaseException) -> bool:
    """Returns whether a device gave up, such as for want of memory, or there is none as asked."""
    if any(c.__name__ == "JaxRuntimeError" for c in type(error).__mro__):
        return True
    return lacks_platform(error) or misreads_environment(error)


def misreads_environment(error: BaseException) -> bool:
    """Returns whether JAX cannot read one of its variables in the environment."""
    return isinstance(error, ValueError) and _raised_in(error).endswith("/jax/_src/config.py")


def lacks_platform(error: BaseException) -> bool:
    """Returns whether JAX finds no device of the platform that it was asked for.

    JAX takes its own frames out of some of these, whose last one is then another file of JAX.
    """
    raised_in = _raised_in(error)
    return (
        raised_in.endswith("/jax/_src/xla_bridge.py")
        or str(error).startswith("Unable to initialize backend")
        or (isinstance(error, AssertionError) and not str(error) and "/jax/_src/" in raised_in)
    )


def _raised_in(error: BaseException) -> str:
    """Returns the file that raised an error, with '/' in its path; '' where that is not known."""
    frames = traceback.extract_tb(error.__traceback__)
    return frames[-1].filename.replace(os.sep, "/") if frames else ""


@functools.cache
def _is_machinery(file: str) -> bool:
    if file.startswith("<") and not file.startswith("<ipython"):
        return True
    path = os.path.abspath(file)
    if any(path.startswith(folder) for folder in _folders()):
        return True
    standard = sysconfig.get_paths()["stdlib"] + os.sep
    return path.startswith(standard) and not any(name in path for name in _INSTALLED)


@functools.cache
def _folders() -> tuple[str, ...]:
    specs = filter(None, map(importlib.util.find_spec, _MACHINERY))
    return tuple(os.path.dirname(str(spec.origin)) + os.sep for spec in specs)


def _shown_path(file: str) -> str:
    """Returns the path of a file from the working folder, if it lies below."""
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else relative
