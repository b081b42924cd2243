"""How hypothesis searches here: the same examples in every run, so that a result can be repeated.

Invariant: `fixed` draws from no clock and no chance. `pytest tests/property --hypothesis-profile
search` tries new examples, and ten times as many, for whoever looks for trouble.
"""

from hypothesis import HealthCheck, settings

# A machine with much else to do is slow in making examples, which is nobody's fault.
_SLOW = [HealthCheck.too_slow]

settings.register_profile(
    "fixed", derandomize=True, deadline=None, max_examples=150, suppress_health_check=_SLOW
)
settings.register_profile(
    "search", derandomize=False, deadline=None, max_examples=1_500, suppress_health_check=_SLOW
)
if settings.get_current_profile_name() in ("default", "ci"):  # nobody asked for another
    settings.load_profile("fixed")
