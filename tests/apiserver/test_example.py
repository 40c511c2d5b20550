"""The example of the documentation, run as it is."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

from gastown_operator.api.core import NAMESPACE
from gastown_operator.runtime.objects import PartialObject, Resource
from tests.apiserver.client import JSON, Client
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
QUOTA: Resource[Any] = Resource(
    "", "v1", "ResourceQuota", "resourcequotas", namespaced=True, project=PartialObject.project
)


def quota(client: Client, namespace: str) -> JSON | None:
    answer = client.request("GET", QUOTA.path(namespace, "small"))
    return answer.object() if answer.status != 404 else None


def test_the_example_operator_makes_quotas_brings_them_back_and_takes_them_away(client: Client) -> None:
    program = [sys.executable, str(ROOT / "docs/examples/quota_operator.py")]
    with subprocess.Popen(program, env={**os.environ, "PYTHONPATH": str(ROOT)}) as operator:
        try:
            metadata = {"name": f"test-{uuid4().hex[:12]}", "labels": {"size": "small"}}
            namespace = client.create(NAMESPACE, {"metadata": metadata}).object()
            name = namespace["metadata"]["name"]
            eventually(lambda: quota(client, name) is not None, "the quota is there")
            first = quota(client, name)
            client.request("DELETE", QUOTA.path(name, "small")).object()
            eventually(
                lambda: (again := quota(client, name)) is not None and again != first, "the quota is back"
            )
            client.patch(NAMESPACE, namespace, {"metadata": {"labels": {"size": None}}}).object()
            eventually(lambda: quota(client, name) is None, "the quota is gone")
        finally:
            operator.terminate()
        assert operator.wait(35) == 0
        client.request("DELETE", NAMESPACE.path(name=name))
