"""How many examples a fuzz test makes: a few in the gate, many where HYPOTHESIS_PROFILE is full."""

import os
from typing import Any

from hypothesis import HealthCheck, Phase, settings

IS_FULL = os.environ.get("HYPOTHESIS_PROFILE") == "full"


def examples(gate: int, full: int, **options: Any) -> settings:
    """Return the settings of a fuzz test; a failure prints how it is made again.

    In the gate a failure is shown as it was found: to make it small can take minutes.
    """
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    return settings(
        max_examples=full if IS_FULL else gate,
        deadline=None,
        print_blob=True,
        phases=(*phases, Phase.shrink) if IS_FULL else phases,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.large_base_example,
            HealthCheck.filter_too_much,
        ],
        **options,
    )
