"""Failures that are no bug: what the machine or its environment refuses, said in a sentence."""

import errno
import os
import re
import sys
import traceback

from lepton_jax.config.user_code import lacks_platform, misreads_environment
from lepton_jax.console import format_command
from lepton_jax.errors import UserError, WorkError

_CURES = {
    errno.EMFILE: "; raise the limit of open files (ulimit -n)",
    errno.ENFILE: "; this machine has no more open files to give",
    errno.ENOSPC: "; make room, then give the same command again",
    errno.EDQUOT: "; make room, then give the same command again",
}

_GAVE_UP = re.compile("RESOURCE_EXHAUSTED|UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED")
"""How XLA begins to say what is no bug of a program."""

_SAFE_FLAGS = re.compile(
    r"(--xla_(force_host_platform_device_count|backend_optimization_level)=\d+\s*)*"
)
"""XLA_FLAGS that are known to be right, so that nothing has to be tried."""


def explain_failure(error: BaseException) -> UserError | WorkError | None:
    """Returns the sentence on an exception that the environment caused; None for any other.

    A UserError is a mistake in the environment's variables. Everything else may be gone the next
    time: a WorkError.
    """
    frames = traceback.extract_tb(error.__traceback__)
    if lacks_platform(error):
        return WorkError(_explain_platforms(error))
    if _GAVE_UP.match(str(error)) and type(error).__name__ == "JaxRuntimeError":
        cure = _save_memory() if str(error).startswith("RESOURCE_EXHAUSTED") else ""
        return WorkError(f"the device gave up: {str(error).splitlines()[0]}{_where(frames)}{cure}")
    if misreads_environment(error):
        return UserError(f"an environment variable of JAX cannot be read: {error}")
    if isinstance(error, MemoryError):
        return WorkError(f"the memory of this machine is used up{_where(frames)}")
    if isinstance(error, OSError):
        names = [n for n in (error.filename, error.filename2) if n is not None]
        what = f": {' -> '.join(map(str, names))}" if names else ""
        cure = _CURES.get(error.errno or 0, "")
        return WorkError(f"{error.strerror or error}{what}{_where(frames)}{cure}")
    return None


def _save_memory() -> str:
    """Says what takes less memory: keys of another run, and one that any run may change."""
    return (
        "\nWhat takes less memory, in another --workdir: a larger accumulate, a smaller "
        "batch_size, precision=bfloat16. In the same one: strategy.name=mesh over several "
        "devices.\n"
        f"To see what fits: {format_command('plan', config='...')}"
    )


def check_xla_flags() -> None:
    """Checks the environment's XLA_FLAGS, at which XLA would end this process without a word of us.

    A child process reads them as XLA does.

    Raises:
      UserError: with XLA's reason.
    """
    flags = os.environ.get("XLA_FLAGS", "").strip()
    if _SAFE_FLAGS.fullmatch(flags) or "jax" in sys.modules:
        return
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _read_xla_flags(writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    if status:
        reasons = re.findall(r"^[EF]\d{4} .*?\] (.*)", said, re.M)
        raise UserError(f"XLA_FLAGS={flags:.100}: {reasons[0] if reasons else 'XLA refuses it'}")


def _read_xla_flags(writer: int) -> None:
    """Reads XLA_FLAGS and ends this child process with 0; wrong ones end it otherwise."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.dup2(writer, 2)
        from jaxlib import _jax

        _ = _jax.CompileOptions().executable_build_options.debug_options
    finally:
        os._exit(0)


def _explain_platforms(error: BaseException) -> str:
    wanted = os.environ.get("JAX_PLATFORMS", "")
    said = (str(error).splitlines() or [""])[0].partition(" (set JAX_PLATFORMS")[0].rstrip(".")
    there = _platforms()
    reason = f": {said}" if said else ""
    if not wanted:
        return f"JAX finds no device{reason}"
    return (
        f"JAX_PLATFORMS={wanted}: there is no such device here{reason}; there are: "
        f"{', '.join(there) or 'none'} (unset JAX_PLATFORMS to take what there is)"
    )


def _platforms() -> list[str]:
    """Returns the platforms whose devices JAX can reach here, cpu among them."""
    from jax._src import xla_bridge

    there = []
    for name in xla_bridge._backend_factories:
        try:
            if xla_bridge._init_backend(name).device_count():
                there.append(name)
        except Exception:  # noqa: BLE001  a platform that is not there fails as it likes
            continue
    return there


def _where(frames: traceback.StackSummary) -> str:
    """Returns the last line of lepton_jax that an exception came through."""
    ours = [f for f in frames if "/lepton_jax/" in f.filename.replace(os.sep, "/")]
    if not ours:
        return ""
    name = ours[-1].filename.replace(os.sep, "/").rpartition("/lepton_jax/")[2]
    return f" (in lepton_jax/{name}:{ours[-1].lineno})"
