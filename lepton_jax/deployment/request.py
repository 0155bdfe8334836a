"""What is deployed, and how: the bundle, the image, the replicas, and the claim that holds it."""

import re
from dataclasses import dataclass

from lepton_jax.errors import UserError

PORT = 8080
"""Where the server listens in its container; KServe expects it there."""

BUNDLE = "/mnt/models"
"""Where the bundle lies in the container, which is where KServe mounts what it fetches."""

_CLAIM = re.compile(r"pvc://(?P<claim>[a-z0-9]([-a-z0-9.]*[a-z0-9])?)(/(?P<path>[^\s]*))?")
_IMAGE = re.compile(r"[a-z0-9]+([._/:@-]+[A-Za-z0-9]+)*")


@dataclass(frozen=True)
class Mount:
    """A folder of a persistent volume claim."""

    claim: str
    path: str
    """Below the claim's root; '' for the root."""

    @property
    def uri(self) -> str:
        return f"pvc://{self.claim}/{self.path}" if self.path else f"pvc://{self.claim}"


@dataclass(frozen=True)
class Deployment:
    """A bundle on its way to a cluster."""

    model: str
    """The name by which clients ask for it."""
    identity: str
    """The bundle's id."""
    weights: int
    """Bytes of the bundle's weights."""
    onnx: bool
    """Whether it has an ONNX program: the server needs JAX where it has none."""
    image: str
    replicas: int
    most: int
    """Replicas, at most."""
    mount: Mount | None
    """Where the bundle lies, or None where the image holds it."""

    @property
    def name(self) -> str:
        """The model's name as Kubernetes takes one (RFC 1123)."""
        label = re.sub(r"[^a-z0-9]+", "-", self.model.lower()).strip("-")[:50].strip("-")
        if not label or not label[0].isalpha():
            raise UserError(
                f"deploy: {self.model!r} is no name for Kubernetes: it begins with a letter; "
                "give another with --name=digits"
            )
        return label

    @property
    def arguments(self) -> list[str]:
        """What the server is started with, in its container."""
        return [f"--bundle={self.model}={BUNDLE}", "--host=0.0.0.0", f"--port={PORT}"]

    @property
    def memory(self) -> str:
        """Memory of a replica: what a server without a model takes, and the weights as the file,
        as the program holds them, and once more while it answers."""
        return f"{256 + 3 * self.weights // 2**20 + 64}Mi"


def parse_mount(text: str) -> Mount | None:
    """Parses 'pvc://CLAIM/PATH'; '' is None.

    Raises:
      UserError: when it is of another form.
    """
    if not text:
        return None
    match = _CLAIM.fullmatch(text)
    path = (match["path"] or "").strip("/") if match else ""
    if match is None or ".." in path.split("/"):
        raise UserError(
            f"deploy: --mount={text}: expected pvc://CLAIM/PATH, a claim of the cluster"
        )
    return Mount(match["claim"], path)


def check_image(image: str) -> str:
    """Returns the name of an image as it was given.

    Raises:
      UserError: when it is missing or is none.
    """
    if not image:
        raise UserError("deploy: --image is missing, such as --image=REGISTRY/digits:1")
    if not _IMAGE.fullmatch(image):
        raise UserError(f"deploy: --image={image}: expected one such as registry.lab/digits:1")
    return image
