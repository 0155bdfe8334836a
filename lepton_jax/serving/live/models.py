"""The models of a server: which version of each answers, and how the next one takes its place.

Where an alias moves, the new version is loaded and warmed up beside the old one, gets the requests
from then on, and the old one answers what it has and goes. So at most two versions of a model are
in memory. While the registry is away, what is loaded goes on answering.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..batches.batcher import BatchRules
from ..loader import Bundle
from .aside import run_aside
from .canary import Canary, CanaryRules
from .served import ServedModel

ASKED_SECONDS = 10.0
"""How long a registry may take to answer before it is said to be away."""

AGAIN_SECONDS = 60.0
"""How long after a version could not be loaded it is tried again."""


class UnknownModel(Exception):
    """No such model, or no such version of it, is loaded."""


@dataclass(frozen=True)
class FoundVersion:
    """The version that a name stands for now."""

    version: str
    id: str
    """The bundle's."""
    open: Callable[[], Bundle]
    """Fetches, checks and loads it: may take seconds, and raise anything."""


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from."""

    name: str
    find: Callable[[], FoundVersion]
    """Asks what the name stands for now; raises anything where nobody answers."""
    moves: bool = False
    """Whether that may change while the server runs."""


class LiveNotes:
    """Is told what happens to the models; metrics and logs are made of it."""

    def computed(self, served: ServedModel, rows: int, seconds: float) -> None:
        """A batch of so many rows was computed."""

    def loaded(self, served: ServedModel) -> None:
        """A version answers from now on."""

    def unloaded(self, served: ServedModel) -> None:
        """A version answers no more."""

    def not_loaded(self, name: str, version: str, why: str) -> None:
        """A version could not be loaded: the one before it goes on."""

    def asked(self, name: str, fault: str) -> None:
        """A registry was asked what a name stands for; `fault` says why it did not answer."""

    def canary_ended(self, name: str, version: str, why: str) -> None:
        """A canary gets no more requests."""


class Models:
    """The models of a server, by name.

    Args:
      canaries: by the name of a model, a version that gets a share of its requests.
      notes: is told what happens.

    Raises:
      ValueError: when two sources have one name.
    """

    def __init__(
        self,
        sources: Sequence[ModelSource],
        rules: BatchRules,
        canaries: Mapping[str, tuple[ModelSource, CanaryRules]] | None = None,
        notes: LiveNotes | None = None,
    ):
        self._sources = {source.name: source for source in sources}
        names = [source.name for source in sources]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{min(twice)!r} is given twice: a name stands for one model")
        self._canary_sources = dict(canaries or {})
        self._rules = rules
        self._notes = notes or LiveNotes()
        self._live: dict[str, ServedModel] = {}
        self._canaries: dict[str, Canary] = {}
        self._failed: dict[str, tuple[str, float]] = {}
        self._followers: list[asyncio.Task[None]] = []

    @property
    def names(self) -> list[str]:
        """The models that there are, loaded or not."""
        return list(self._sources)

    @property
    def ready(self) -> bool:
        """Whether every model answers."""
        return self._live.keys() == self._sources.keys()

    def versions(self, name: str) -> list[ServedModel]:
        """Lists the versions of a model that answer, the main one first."""
        served = [self._live[name]] if name in self._live else []
        return served + ([self._canaries[name].served] if name in self._canaries else [])

    def find(self, name: str, key: str = "", version: str = "") -> ServedModel:
        """Finds the version of a model that answers a request.

        Args:
          key: the same key gets the same version while there is a canary.
          version: the version that is asked for; '' for whichever it is.

        Raises:
          UnknownModel: when there is no such model or version.
        """
        main = self.main(name, version)
        canary = self._canaries.get(name)
        return canary.served if canary and not version and canary.takes(key) else main

    def main(self, name: str, version: str = "") -> ServedModel:
        """Finds a version of a model; by default the one that answers where no canary does.

        Raises:
          UnknownModel: when there is no such model or version.
        """
        there = self.versions(name)
        if not there:
            said = "is not loaded yet" if name in self._sources else "is not served here"
            raise UnknownModel(f"model {name!r:.80} {said}; there are: {', '.join(self._live)}")
        for served in there:
            if version in ("", served.version):
                return served
        known = ", ".join(served.version for served in there)
        raise UnknownModel(f"model {name!r} has no version {version!r:.40} here; it has {known}")

    def canary(self, name: str) -> Canary | None:
        """Returns the canary of a model, while it has one."""
        return self._canaries.get(name)

    def end_canary(self, name: str, why: str) -> None:
        """Sends all requests to the main version from now on."""
        if canary := self._canaries.pop(name, None):
            self._notes.canary_ended(name, canary.served.version, why)

    async def load(self) -> None:
        """Loads every model. Raises what its source raises."""
        for source in self._sources.values():
            self._live[source.name] = await self._load(source, await run_aside(source.find))
            self._notes.loaded(self._live[source.name])
        for name, (source, rules) in self._canary_sources.items():
            served = await self._load(source, await run_aside(source.find))
            self._canaries[name] = Canary(served, rules)
            self._notes.loaded(served)

    def follow(self, seconds: float) -> None:
        """Asks every so many seconds which version each name stands for, from now on."""
        moving = [source for source in self._sources.values() if source.moves]
        self._followers = [asyncio.create_task(self._follow(s, seconds)) for s in moving]

    async def close(self) -> None:
        """Answers what waits, and follows no name any more."""
        for task in self._followers:
            task.cancel()
        for served in [s for name in self._sources for s in self.versions(name)]:
            await served.close()

    async def _load(self, source: ModelSource, found: FoundVersion) -> ServedModel:
        def load() -> ServedModel:
            bundle = found.open()
            return ServedModel(
                source.name, found.version, bundle, self._rules, self._notes.computed
            )

        return await run_aside(load)

    async def _follow(self, source: ModelSource, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            asking = asyncio.ensure_future(run_aside(source.find))
            if not (await asyncio.wait({asking}, timeout=ASKED_SECONDS))[0]:
                self._notes.asked(source.name, f"no answer within {ASKED_SECONDS:g} s")
            try:
                found = await asking
            except Exception as e:  # noqa: BLE001  a registry may be away in any way
                self._notes.asked(source.name, f"{type(e).__name__}: {e!s:.200}")
                continue
            self._notes.asked(source.name, "")
            await self._move(source, found)

    async def _move(self, source: ModelSource, found: FoundVersion) -> None:
        """Lets the version that was found take the place of the one that answers."""
        name, old = source.name, self._live[source.name]
        if (found.id, found.version) == (old.bundle.id, old.version):
            return
        failed, when = self._failed.get(name, ("", 0.0))
        if failed == found.id and time.monotonic() < when + AGAIN_SECONDS:
            return
        if canary := self._canaries.get(name):  # its place in memory is needed
            self.end_canary(name, "another version has become the main one")
            await self._let_go(canary.served)
        try:
            new = await self._load(source, found)
        except Exception as e:  # noqa: BLE001  a version that does not load changes nothing
            self._failed[name] = (found.id, time.monotonic())
            self._notes.not_loaded(name, found.version, f"{type(e).__name__}: {e!s:.200}")
            return
        self._live[name] = new
        self._notes.loaded(new)
        await self._let_go(old)

    async def _let_go(self, served: ServedModel) -> None:
        await served.close()
        self._notes.unloaded(served)
