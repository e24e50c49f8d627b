"""How far the timed steps of a launch follow the precision that T_comm needs."""

from __future__ import annotations

# So many steps are timed before ranks decide again: deciding costs a collective.
WINDOW = 5
# The most steps that a launch times by itself: the interval of a median halves with four times as
# many, and launches differ from one another by more than forty steps leave open.
MOST_STEPS = 40
# How long the timed pass may take, in seconds, if it goes on beyond the first steps: forty of the
# default transformers on a core each fit. Slower models, whose launches take long anyway, stop
# before.
MOST_SECONDS = 8.0
# What share of a step its transfer has to be before it matters how well it is known.
MATTERS = 0.02
