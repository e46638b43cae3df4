"""Topology as code: what would change at a broker, and changing it.

``change`` says what a plan is, ``ability`` what a broker must do for one, ``fragments`` compares what apps declare, and
``applying`` carries plans out: locked, checked again, resumable.
"""

from brokerkit.planning.ability import Done, Planner, Plans, nobody
from brokerkit.planning.applying import WAIT, Applied, apply, drift, plan
from brokerkit.planning.change import Action, Change, Difference, Options, Plan, Risk
from brokerkit.planning.saving import from_file, to_file

__all__ = [
    "WAIT",
    "Action",
    "Applied",
    "Change",
    "Difference",
    "Done",
    "Options",
    "Plan",
    "Planner",
    "Plans",
    "Risk",
    "apply",
    "drift",
    "from_file",
    "nobody",
    "plan",
    "to_file",
]
