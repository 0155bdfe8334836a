"""The command `improve`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText
from lepton_jax.errors import UserError

if TYPE_CHECKING:
    from lepton_jax.improvement.improved import ImprovedModel


@command
def improve(
    *,
    workdir: PathText,
    model: str = "",
    requests: PathText = "",
    request: PathText = "",
    config: Any = None,
    overrides: Mapping[str, Any] | None = None,
    approver: str = "",
) -> "ImprovedModel":
    """Trains a successor of the model in production on labelled requests, and lets it take over.

    --workdir=DIR                   where everything goes; the same command goes on there
    --model=NAME                    whose version in production is improved
    --requests=DIR                  what `serve --keep_requests=DIR` kept, labelled by /feedback
    --request=FILE                  or both, and a likely cause, as `monitor` wrote it at an alarm
    --config=FILE                   the recipe, where the bundle does not carry it whole
    --config.path.to.key=value      overrides one key of it
    --approver=NAME                 who approves of the promotion, for the history

    The successor starts from the weights in production, and learns from the old data and the new
    ones together. It is registered if it is better on new data that it has not seen, not worse on
    the old, and meets the gate; it is promoted if somebody approves of it as well.

    Examples:
      python launch.py improve --model=digits --requests=kept --workdir=runs/improved
      python launch.py improve --workdir=runs/improved --approver=alice
    """
    if request and (model or requests):
        raise UserError("improve: --request=FILE names the model and the requests; give it alone")
    if bool(model) != bool(requests):
        raise UserError("improve: --model=NAME and --requests=DIR go together")
    from lepton_jax.improvement.request import REQUEST, RetrainRequest, read_request
    from lepton_jax.io import files
    from lepton_jax.registry.version import check_name

    files.check_can_make(workdir)
    if not files.is_local(workdir):
        raise UserError(f"improve: --workdir={workdir}: expected a folder on a disk")
    begun = files.exists(files.join_path(workdir, REQUEST))
    if not (request or model or begun):
        raise UserError(
            f"improve: {workdir} holds no request; give --model=NAME and --requests=DIR, or "
            "--request=FILE"
        )
    if model:
        check_name(model)
    if requests and not files.is_dir(requests):
        raise UserError(
            f"improve: --requests={requests}: there is no such folder"
            f"{files.name_nearest(requests)}; expected what `serve --keep_requests=DIR` keeps"
        )
    asked = read_request(request) if request else None
    if model:
        asked = RetrainRequest(model, requests)
    if asked and not begun:
        from lepton_jax.improvement.prepare import find_champion

        find_champion(asked.model)  # before JAX is imported
    from lepton_jax.improvement.improve import improve_model
    from lepton_jax.tracking.provenance import default_command

    return improve_model(
        asked, workdir, recipe=config or None, overrides=overrides, approver=approver,
        command=default_command(),
    )  # fmt: skip
