"""What the API server's authorizer knows: it learns of roles by watches of its own, a moment after they are stored."""

from collections.abc import Iterator, Sequence

from gastown_operator.runtime.objects import PartialObject, Raw, Resource

REVIEW = Resource(
    "authorization.k8s.io",
    "v1",
    "SubjectAccessReview",
    "subjectaccessreviews",
    namespaced=False,
    project=PartialObject.project,
)


def questions(user: str, rules: Sequence[Raw], namespace: str = "") -> Iterator[Raw]:
    """Yield a SubjectAccessReview for each of a role's rules: whether the user has its first right."""
    for rule in rules:
        if "nonResourceURLs" in rule:
            asked = {"nonResourceAttributes": {"path": rule["nonResourceURLs"][0], "verb": rule["verbs"][0]}}
        else:
            resource, _, subresource = rule["resources"][0].partition("/")
            attributes = {
                "namespace": namespace,
                "group": rule["apiGroups"][0],
                "resource": resource,
                "subresource": subresource,
                "verb": rule["verbs"][0],
            }
            asked = {"resourceAttributes": attributes}
        yield {"metadata": {}, "spec": {"user": user, **asked}}


def allowed(answer: Raw) -> bool:
    """Whether the answer to a question is yes."""
    return bool(answer["status"]["allowed"])
