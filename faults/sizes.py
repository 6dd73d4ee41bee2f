"""How much a run does: the long one prints the figures, the short one is part of the tests and goes through the same code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of all scenarios. Times in seconds."""

    jobs: int = 100_000
    """Store jobs of the storm."""
    outstanding: int = 5_000
    """Jobs that the senders let wait at a time."""
    least: int = 5
    """How often each kind of fault must fire."""
    calm_s: tuple[float, float] = (2.0, 5.0)
    """Between two faults."""
    freeze_s: tuple[float, float] = (11.0, 20.0)
    """How long a process is frozen: beyond its lease of 10 s."""
    later_s: float = 20.0
    """Each message is sent a second time, at most so much later."""
    trials: int = 200
    """Workers killed with a job in hand."""
    freezes: int = 20
    """Workers frozen with a job in hand."""
    away_s: float = 60.0
    """How long the broker is gone."""
    burst: int = 200
    """Documents stored at once before the broker goes, so that messages wait."""
    offered_per_s: float = 25.0
    """Documents offered to the client while it is."""
    slots: int = 1_000
    """Simulated slots of the schedule."""
    skip_seasons: int = 1
    """Each n-th of the changes of the clock is lived through: 3 leaves one back and one forward, in two zones."""
    cost_jobs: int = 2_000
    """Store jobs of one run with, and one without, the ledger."""
    cost_runs: int = 9
    """How often each of the two is run."""
    cost_least: float = 0.85
    """The least ratio of the two rates. A short run is too short to measure one: it shows that both ways work."""
    history: int = 1_000_000
    """Rows of the job history."""
    history_ms: float = 50.0
    """The most that a question about it may take (p95). A short run goes on beside others, and shows that all of it works."""
    steps: int = 200_000
    """Steps of the state machines, of all together."""
    rounds: int = 50
    """How often a small disk is full and free again."""
    keep: bool = False
    """Leave the data folders, to be looked at."""


LONG = Sizes()
SHORT = Sizes(
    jobs=250,
    outstanding=150,
    least=1,
    calm_s=(0.7, 1.2),
    freeze_s=(10.5, 11.0),
    later_s=5.0,
    trials=3,
    freezes=1,
    away_s=2.0,
    burst=40,
    slots=24,
    skip_seasons=3,
    rounds=1,
    cost_jobs=100,
    cost_runs=1,
    cost_least=0.2,
    history=6_000,
    history_ms=1_000.0,
    steps=60,
)
