"""For every test: properties are about behaviour, not about how busy the machine is.

Their examples are the same in every run, so that a run says something about the change that it was made for; `hack/test --full`
looks for others.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "default",
    deadline=None,
    derandomize=not os.environ.get("GASTOWN_FULL"),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("default")
