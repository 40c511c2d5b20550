"""Images for the lab's containerd: the pause image, written without any builder, and archives given by the user."""

import hashlib
import io
import json
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from hack.lab.errors import LabError, last_line
from hack.lab.layout import PAUSE_IMAGE, Layout


def program_image(program: bytes, path: str, name: str) -> bytes:
    """A Docker archive of an image with just this static program, run as its entry point; equal input, equal bytes."""
    layer = _tar({path: program}, mode=0o755)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": [f"/{path}"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    config_bytes = json.dumps(config).encode()
    config_name = f"{hashlib.sha256(config_bytes).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]
    return _tar(
        {"manifest.json": json.dumps(manifest).encode(), config_name: config_bytes, "layer.tar": layer}
    )


def _tar(files: dict[str, bytes], mode: int = 0o644) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@dataclass(frozen=True)
class Images:
    """The image store of one cluster's node."""

    layout: Layout

    def load(self, archive: Path) -> list[str]:
        """Import a Docker or OCI archive; returns the names of its images, raises LabError if it is none."""
        if not archive.is_file():
            raise LabError(
                f"{archive} is no file: give an image archive, such as `buildah push NAME docker-archive:FILE` writes"
            )
        result = self._ctr("images", "import", str(archive))
        if result.returncode:
            raise LabError(f"containerd refused {archive}: {last_line(result.stderr)}")
        return [line.split()[1] for line in result.stdout.splitlines() if line.startswith("unpacking ")]

    def load_pause(self, program: Path) -> None:
        """Make the pause image that every pod starts with."""
        archive = self.layout.run / "pause.tar"
        archive.write_bytes(program_image(program.read_bytes(), "pause", PAUSE_IMAGE))
        self.load(archive)
        archive.unlink()

    def serving(self) -> bool:
        """Whether containerd answers."""
        return self._ctr("version").returncode == 0

    def _ctr(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["ctr", f"--address={self.layout.containerd_socket}", "--namespace=k8s.io", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
