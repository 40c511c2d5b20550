"""Docker archives: a tar with `manifest.json`, which names the image."""

import io
import json
import tarfile
from pathlib import Path

MANIFEST = "manifest.json"


def add_name(source: Path, target: Path, name: str) -> None:
    """Copy the archive `source` to `target` with one more name for its image."""
    with tarfile.open(source, "r:") as old, tarfile.open(target, "w:", format=tarfile.GNU_FORMAT) as new:
        for member in old:
            content = old.extractfile(member)
            if member.name == MANIFEST and content is not None:
                manifest = json.load(content)
                manifest[0]["RepoTags"].append(name)
                data = json.dumps(manifest).encode()
                member.size = len(data)
                content = io.BytesIO(data)
            new.addfile(member, content)
