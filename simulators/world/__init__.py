"""One simulated world: a clock, a platform, a seed. Everything that is simulated on a bench shares it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from .clock import Clock
from .node import Node
from .platform import Platform, PlatformSettings
from .truth import Truth

__all__ = ["Clock", "Node", "Platform", "PlatformSettings", "Truth", "World", "WorldLoad", "WorldSettings"]


class WorldSettings(BaseModel):
    """`[world]`: rate = world seconds a real second (1 real time, 0 stepped), seed, and the platform."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rate: float = Field(default=1.0, ge=0)
    seed: int = 1
    platform: PlatformSettings = PlatformSettings()


class WorldLoad:
    """A steady load of the simulated platform; ends after its duration, on `stop()`, or on leaving its `with`."""

    def __init__(self, world: World, fraction: float, duration: float | None) -> None:
        self._world = world
        self._fraction = fraction
        self._begin = world.clock.now()
        self._end = None if duration is None else self._begin + duration
        self._since = self._begin
        self._stopped: float | None = None
        self._guard = threading.Lock()
        world.platform.set_load(fraction)

    @property
    def fraction(self) -> float:
        """The asked fraction of full load."""
        return self._fraction

    @property
    def running(self) -> bool:
        """True while the load is applied."""
        if self._stopped is None and self._end is not None and self._world.clock.now() >= self._end:
            self.stop()
        return self._stopped is None

    def achieved(self) -> float:
        """Return the platform's mean load since the last call or the start, 0…1."""
        with self._guard:
            now = self._world.clock.now() if self._stopped is None else self._stopped
            since, self._since = self._since, now
        return self._world.platform.mean_load(since, now)

    def others(self) -> None:
        """Nobody else loads a simulated platform: what `achieved` tells is all of its load."""

    def stop(self) -> None:
        """Unload the platform; idempotent."""
        with self._guard:
            if self._stopped is None:
                self._stopped = self._world.clock.now()
                self._world.platform.set_load(0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


class World:
    """The simulated world. clock, platform, truth and seed are public; instruments are made with it."""

    def __init__(self, settings: WorldSettings | None = None) -> None:
        self.settings = settings or WorldSettings()
        self.seed = self.settings.seed
        self.clock = Clock(self.settings.rate)
        self.platform = Platform(self.settings.platform, self.clock, self.seed)
        self.truth = Truth(self.platform, self.clock)
        self._load: WorldLoad | None = None
        self._node: Node | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def from_settings(cls, settings: Mapping[str, object]) -> World:
        """Make a world of the `[world]` table; raises pydantic's ValidationError for what it does not know."""
        return cls(WorldSettings.model_validate(settings))

    @property
    def node(self) -> Node:
        """The accelerators of this world, fed from its mains; made when first asked for.

        Raises UsageError where the simulated vendor libraries have not been built.
        """
        if self._node is None:
            self._node = Node(self.clock, self.settings.platform.ambient)
            self.clock.when_advanced(self._node.advance)
            self.clock.follow(self._node.waited_until)
            self.platform.attach(self._node)
        return self._node

    @property
    def follows_host(self) -> bool:
        """True where the load of this host's own processors is that of the platform."""
        return self.settings.platform.load_source == "host"

    def start(self) -> None:
        """Let the platform's state follow the clock by itself; idempotent."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._follow, name="simulated-world", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Unload the platform and stop following the clock; idempotent."""
        if self._load is not None:
            self._load.stop()
        self.clock.cancel(self._stopping)
        if self._thread is not None:
            self._thread.join(2.0)
            self._thread = None
        if self._node is not None:
            self.platform.detach()
            self._node.close()

    def run_load(self, fraction: float, duration: float | None = None) -> WorldLoad:
        """Load the platform with `fraction` (0…1) for `duration` s of world time, None = until stopped."""
        if self._load is not None:
            self._load.stop()
        self._load = WorldLoad(self, fraction, duration)
        return self._load

    def _follow(self) -> None:
        while not self._stopping.is_set():
            self.platform.advance()
            if self._load is not None:
                _ = self._load.running
            self.clock.wait_until(self.clock.now() + 1.0, self._stopping, limit=0.05)
