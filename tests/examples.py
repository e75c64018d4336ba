"""How many examples a property is tried on: few and always the same ones, or as many as PROPERTY_EXAMPLES says."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

N_EXAMPLES = os.environ.get("PROPERTY_EXAMPLES")
"""With it, each property is tried on so many examples, others in each run."""

NO_CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


def tried(n_examples: int) -> settings:
    """To decorate a property with: ``n_examples`` examples, derived from the test itself."""
    return settings(
        max_examples=int(N_EXAMPLES or n_examples),
        derandomize=N_EXAMPLES is None,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=NO_CHECKS,
    )
