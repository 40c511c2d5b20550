"""From the tree as it is to image archives, building only what has changed."""

import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hack.image_build.archive import add_name
from hack.image_build.base import base_image, build_base
from hack.image_build.buildah import Buildah
from hack.image_build.host import collect_builder_files
from hack.image_build.targets import Target, content_key
from hack.lab.progress import Progress

# The tag that always means the newest build.
DEVELOPMENT_TAG = "dev"
# Archives and images of a target that stay: the newest, and the one before for whoever still runs it.
KEPT = 2


@dataclass(frozen=True)
class BuiltImage:
    """An image in an archive; `seconds` is what it took, and `cached` that nothing had to be built."""

    target: str
    image: str
    archive: Path
    bytes: int
    seconds: float
    cached: bool


class Builder:
    """Builds targets of the tree at `root`, keeping everything below `cache`."""

    def __init__(self, root: Path, cache: Path, base: str | None, progress: Progress) -> None:
        self._root = root
        self._cache = cache
        self._own_base = base is None
        self._base = base or base_image()
        self._progress = progress

    def build(self, targets: Iterable[Target]) -> list[BuiltImage]:
        """Build every one of `targets` that is not in the cache."""
        self._cache.mkdir(parents=True, exist_ok=True)
        return [self._build(target) for target in targets]

    def _build(self, target: Target) -> BuiltImage:
        started = time.monotonic()
        key = self._key(target)
        archive = self._archive(target, key)
        cached = archive.exists()
        while not archive.exists():
            self._make(target, target.image(key), archive)
            key, built_key = self._key(target), key
            if key != built_key:
                self._progress.say(f"{target.name}: the sources changed meanwhile, building again")
                archive.unlink()
                archive = self._archive(target, key)
        archive.touch()  # the newest are kept
        self._progress.say(f"{target.name}: {target.image(key)} {'is up to date' if cached else 'is built'}")
        return BuiltImage(
            target=target.name,
            image=target.image(key),
            archive=archive,
            bytes=archive.stat().st_size,
            seconds=round(time.monotonic() - started, 1),
            cached=cached,
        )

    def _key(self, target: Target) -> str:
        return content_key(target, self._root, self._base)

    def _archive(self, target: Target, key: str) -> Path:
        return self._cache / f"{target.name}-{key}.tar"

    def _make(self, target: Target, image: str, archive: Path) -> None:
        buildah = Buildah(self._cache)
        if self._own_base and not buildah.exists(self._base):
            build_base(self._base, buildah, self._cache, self._progress)
        with tempfile.TemporaryDirectory(prefix="builder-", dir=self._cache) as directory:
            files = collect_builder_files(Path(directory))
            buildah.build(self._root, target.name, self._base, image, files, self._progress)
        self._progress.say(f"{target.name}: writing the archive")
        exported, named = archive.with_suffix(".exported"), archive.with_suffix(".named")
        for leftover in (exported, named):
            leftover.unlink(missing_ok=True)
        buildah.export(image, exported)
        add_name(exported, named, target.image(DEVELOPMENT_TAG))
        exported.unlink()
        named.replace(archive)
        self._forget_old(target, buildah)

    def _forget_old(self, target: Target, buildah: Buildah) -> None:
        archives = sorted(
            self._cache.glob(f"{target.name}-*.tar"), key=lambda path: path.stat().st_mtime, reverse=True
        )
        for archive in archives[KEPT:]:
            archive.unlink()
        for tag in buildah.tags(target.repository):
            if not self._archive(target, tag).exists():
                buildah.remove(target.image(tag))
