"""buildah with storage of its own, so that nothing else on the machine is touched."""

import re
import subprocess
import textwrap
from pathlib import Path

from hack.image_build.errors import BuildError
from hack.image_build.host import BuilderFiles
from hack.image_build.logged import run
from hack.lab.progress import Progress

# The steps that take time.
STEP = re.compile(r"(?:\[\d+/\d+\] )?STEP \d+/\d+: (?P<text>(?:RUN|COPY --from) .*)")
STEP_LENGTH = 80
# buildah leaves its storage mounted; in a mount namespace of its own that ends with it.
ALONE = ("unshare", "--mount")
# The quickest first; overlay is refused where the cache itself lies on an overlay.
STORAGE_DRIVERS = ("overlay", "vfs")


class Buildah:
    """Builds and keeps images below `cache`."""

    def __init__(self, cache: Path) -> None:
        storage = cache / "buildah"
        self._logs = cache / "logs"
        self._storage = [f"--root={storage / 'root'}", f"--runroot={storage / 'run'}"]
        self._driver = self._usable_driver()

    def _usable_driver(self) -> str:
        complaints = []
        for driver in STORAGE_DRIVERS:
            answer = subprocess.run(
                [*ALONE, "buildah", *self._storage, f"--storage-driver={driver}", "info"],
                check=False,
                capture_output=True,
                text=True,
            )
            if answer.returncode == 0:
                return driver
            complaints.append(f"{driver}: {answer.stderr.strip()}")
        raise BuildError(f"buildah has no usable storage driver: {'; '.join(complaints)}")

    def _command(self, *arguments: str) -> list[str]:
        return [*ALONE, "buildah", *self._storage, f"--storage-driver={self._driver}", *arguments]

    def _ask(self, *arguments: str) -> str:
        answer = subprocess.run(self._command(*arguments), check=False, capture_output=True, text=True)
        if answer.returncode != 0:
            raise BuildError(f"buildah {arguments[0]} failed: {answer.stderr.strip()}")
        return answer.stdout.strip()

    def _images(self) -> list[tuple[str, str]]:
        lines = self._ask("images", "--noheading", "--format", "{{.Name}} {{.Tag}}").splitlines()
        return [(name, tag) for name, tag in map(str.split, lines)]

    def exists(self, image: str) -> bool:
        """Tell whether `image` (name and tag) is in the storage."""
        return image in (f"{name}:{tag}" for name, tag in self._images())

    def tags(self, repository: str) -> list[str]:
        """Return the tags of `repository` in the storage."""
        return [tag for name, tag in self._images() if name == repository]

    def commit_directory(self, root: Path, image: str) -> None:
        """Make an image of one layer that holds the files of `root`."""
        container = self._ask("from", "scratch")
        try:
            self._ask("copy", "--quiet", container, str(root), "/")
            self._ask("commit", "--quiet", container, image)
        finally:
            self._ask("rm", container)

    def build(
        self, context: Path, target: str, base: str, image: str, files: BuilderFiles, progress: Progress
    ) -> None:
        """Build one target of the Containerfile in `context` as `image`."""

        def show_step(line: str) -> None:
            if match := STEP.match(line):
                step = textwrap.shorten(match["text"], STEP_LENGTH, placeholder=" …")
                progress.say(f"{target}: {step}")

        run(
            f"building the image {target}",
            self._command(
                "bud",
                "--isolation=chroot",
                "--layers",
                f"--target={target}",
                f"--build-arg=BASE={base}",
                *files.options(),
                f"--tag={image}",
                f"--file={context / 'Containerfile'}",
                str(context),
            ),
            self._logs / f"{target}.log",
            on_line=show_step,
        )

    def export(self, image: str, archive: Path) -> None:
        """Write `image` as a Docker archive, which containerd imports under its name."""
        self._ask("push", "--quiet", image, f"docker-archive:{archive}:{image}")

    def remove(self, image: str) -> None:
        """Remove the name `image`; layers that other images share stay."""
        self._ask("rmi", image)
