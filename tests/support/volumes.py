"""Directories of the lab's node as volumes of pods."""

import json
from pathlib import Path

from tests.support.cluster import kubectl

SIZE = "16Mi"


def offer(name: str, directory: Path) -> None:
    """A PersistentVolume that is a directory of the node, of a storage class of its own name; pods may write to it as any user."""
    directory.mkdir(parents=True)
    directory.chmod(0o777)
    for parent in directory.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o011)
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": SIZE},
        "hostPath": {"path": str(directory)},
        "storageClassName": name,
        "persistentVolumeReclaimPolicy": "Retain",
    }
    _apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec})


def claim(namespace: str, name: str, volume: str) -> None:
    """A claim for a volume that was offered."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": volume,
        "resources": {"requests": {"storage": SIZE}},
    }
    metadata = {"namespace": namespace, "name": name}
    _apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})


def _apply(body: object) -> None:
    kubectl("apply", "--filename=-", stdin=json.dumps(body))
