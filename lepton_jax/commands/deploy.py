"""The command `deploy`."""

import os
from typing import TYPE_CHECKING

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText, PositiveInt
from lepton_jax.errors import UserError, WorkError

if TYPE_CHECKING:
    from lepton_jax.deployment.write import Deployed


@command
def deploy(
    *,
    bundle: PathText = "",
    model: str = "",
    name: str = "",
    image: str = "",
    mount: str = "",
    replicas: PositiveInt = 2,
    most: PositiveInt = 8,
    out: PathText = "",
    dry_run: bool = False,
) -> "Deployed":
    """Writes a Dockerfile and the manifests by which a cluster serves a model; starts nothing.

    --model=NAME@production         a registered version; or NAME/VERSION
    --bundle=DIR                    or a bundle in a folder, or FILE.tar
    --name=NAME                     what clients ask for; by default the model's, or the folder's
    --image=REGISTRY/NAME:TAG       what the image will be called
    --mount=pvc://CLAIM/PATH        the bundle lies in a volume of the cluster; by default it is
                                    baked into the image, which then is one version for good
    --replicas=2 --most=8           servers to begin with, and under load; they share nothing
    --out=DIR                       the folder to write
    --dry_run                       prints the manifests, and writes nothing

    Kubernetes gets a Deployment, a Service, an autoscaler and a disruption budget; KServe an
    InferenceService of the same container.

    Examples:
      python launch.py deploy --model=digits@production --image=registry.lab/digits:3 --dry_run
      python launch.py deploy --model=digits@production --image=registry.lab/digits:3 \\
          --out=deploy/digits
    """
    if bool(bundle) == bool(model):
        raise UserError("deploy what? give either --model=NAME@production or --bundle=DIR")
    if bool(out) == dry_run:
        raise UserError("deploy: give --out=DIR, or --dry_run to see what would be written")
    if most < replicas:
        raise UserError(f"deploy: --most={most} is below --replicas={replicas}")
    if bundle:
        from lepton_jax.cli.looks import look_for_bundle

        look_for_bundle(bundle)
    from lepton_jax.deployment.request import Deployment, check_image, parse_mount
    from lepton_jax.deployment.write import write_deployment

    named, volume = check_image(image), parse_mount(mount)
    from lepton_jax.registry.bundles import read_bundle
    from lepton_jax.serving import loader
    from lepton_jax.serving.signature import find_program

    try:
        found = read_bundle(bundle or None, model or None)
    except loader.BundleError as e:
        raise WorkError(str(e)) from None
    weights = (found.folder / loader.WEIGHTS).stat().st_size
    default = model.partition("@")[0].partition("/")[0] or os.path.basename(bundle.rstrip("/"))
    onnx = "path" in find_program(found.signature, "onnx")
    asked = Deployment(name or default, found.id, weights, onnx, named, replicas, most, volume)
    return write_deployment(asked, found.folder, out)
