"""What Prometheus reads beside Flower's own figures: one function for each group, in GROUPS."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from models.migrate import HEAD
from storage.layout import FORMAT
from workers.alarm_view import AlarmFacts
from workers.broker import UNACKED
from workers.drills import VERDICTS
from workers.scene import Scene

Group = Callable[[Scene], Iterator[Metric]]


def jobs(scene: Scene) -> Iterator[Metric]:
    """Yield how many jobs there are; of a large history those that have ended are counted every minute or two."""
    family = GaugeMetricFamily("strongroom_jobs", "Jobs in the ledger.", labels=("kind", "state"))
    for (kind, state), count in sorted(scene.jobs.items()):
        family.add_metric((kind, state), count)
    yield family


def waiting(scene: Scene) -> Iterator[Metric]:
    """Yield what waits, and for how long."""
    yield GaugeMetricFamily(
        "strongroom_oldest_waiting_job_seconds",
        "Age of the oldest job that nobody has begun; 0 when none waits.",
        round(scene.oldest_waiting_s, 3),
    )
    yield GaugeMetricFamily("strongroom_inbox_files", "Accepted jobs whose files lie in the inbox.", scene.inbox_files)
    family = GaugeMetricFamily("strongroom_queue_messages", "Messages that wait in the broker.", labels=("queue",))
    for queue, count in scene.seen.messages.items():
        if queue != UNACKED:
            family.add_metric((queue,), count)
    yield family
    yield GaugeMetricFamily(
        "strongroom_unacknowledged_messages",
        "Messages that workers have taken and not finished.",
        scene.seen.messages.get(UNACKED, 0),
    )


def parts(scene: Scene) -> Iterator[Metric]:
    """Yield which parts are at work."""
    up = GaugeMetricFamily("strongroom_part_up", "Whether a part of the service is at work.", labels=("part",))
    for name, state in scene.parts.items():
        up.add_metric((name,), state == "ready")
    yield up
    worked = GaugeMetricFamily(
        "strongroom_part_worked_seconds_ago", "When a worker last finished something, a probe at least.", labels=("part",)
    )
    for name, ago_s in scene.worked_s_ago.items():
        worked.add_metric((name,), round(ago_s, 3))
    yield worked
    yield GaugeMetricFamily("strongroom_broker_up", "Whether the broker answers.", scene.seen.broker_answers)
    yield GaugeMetricFamily("strongroom_database_up", "Whether the database answers and could be written.", scene.database)
    yield GaugeMetricFamily("strongroom_ready", "What /health says.", scene.ready)


def schedules(scene: Scene) -> Iterator[Metric]:
    """Yield what became of the times of the schedules. The counts only grow, though old slots are pruned."""
    slots = CounterMetricFamily("strongroom_schedule_slots", "Times of a schedule.", labels=("schedule", "state"))
    last = GaugeMetricFamily("strongroom_schedule_last_slot_timestamp_seconds", "Its last time.", labels=("schedule",))
    following = GaugeMetricFamily("strongroom_schedule_next_slot_timestamp_seconds", "Its next time.", labels=("schedule",))
    for one in scene.schedules:
        for state, count in sorted(one.counts.items()):
            slots.add_metric((one.schedule, state), count)
        for family, time in ((last, one.last_slot_at), (following, one.next_slot_at)):
            if time is not None:
                family.add_metric((one.schedule,), time.timestamp())
    yield from (slots, last, following)


def coverage(scene: Scene) -> Iterator[Metric]:
    """Yield how far the promise is kept that everything is read again in time."""
    found = scene.coverage
    if found is None:
        return
    for name, told, value in (
        ("kept", "Whether every segment was read again in time.", found.is_kept),
        ("in_danger", "Whether the promise is about to be broken, or is.", found.state != "kept"),
        ("oldest_unchecked_seconds", "How long the segment that waited longest has not been read.", found.oldest_unchecked_age_s),
        ("debt_bytes", "Bytes of segments that should have been read by now.", found.debt_bytes),
        ("never_checked_segments", "Segments that were not read since they were written.", found.never_checked),
        ("suspect_segments", "Segments that were found bad when they were last read.", found.suspects),
    ):
        yield GaugeMetricFamily(f"strongroom_coverage_{name}", told, value)


def alarms(scene: Scene) -> Iterator[Metric]:
    """Yield whether backups happen, and whether people would be told when they did not."""
    facts = scene.alarms
    if facts is None:
        return
    for name, told, value in (
        ("backup_late", "Whether no good backup has begun for longer than is allowed.", facts.backup_late),
        ("watchman_up", "Whether somebody looks for what is wrong and tells people.", facts.is_looked_after),
        ("alert_services", "Services that people are told by.", facts.services),
        ("alerts_arrive", "Whether the last message arrived at all of them, and not too long ago.", facts.arrive),
    ):
        yield GaugeMetricFamily(f"strongroom_{name}", told, value)
    yield from _drill(facts)
    for name, told, time in (
        ("last_good_backup", "When the last good backup began.", facts.last_backup_at),
        ("alerts_tested", "When something was last sent to all services that people are told by.", facts.tested_at),
    ):
        if time is not None:
            yield GaugeMetricFamily(f"strongroom_{name}_timestamp_seconds", told, time.timestamp())


def _drill(facts: AlarmFacts) -> Iterator[Metric]:
    """Yield whether backups are proven, and how long the last restore took."""
    family = GaugeMetricFamily("strongroom_drill_verdict", "How it stands with drills: one of these is 1.", labels=("verdict",))
    for verdict in VERDICTS:
        family.add_metric((verdict,), facts.drill_verdict == verdict)
    yield family
    if facts.drill is not None:
        for name, told, value in (
            ("rto_seconds", "How long the last drill took until a document could be read.", facts.drill.rto_s),
            ("rpo_seconds", "How old the newest backup was at the last drill.", facts.drill.rpo_s),
            ("last_timestamp_seconds", "When the last drill began.", facts.drill.at.timestamp()),
        ):
            yield GaugeMetricFamily(f"strongroom_drill_{name}", told, value)


def space(scene: Scene) -> Iterator[Metric]:
    """Yield how full the disk is, and when it will be, as far as that can be told."""
    found = scene.space
    if found is None:
        return
    for name, told, value in (
        ("free_bytes", "What is free on the data folder's disk.", found.space.free_bytes),
        ("size_bytes", "How large that disk is.", found.space.total_bytes),
        ("reserve_bytes", "What jobs leave free of it.", found.reserve_bytes),
        ("low", "Whether so much of it is used, or filled a day, that somebody should know.", found.level != "fine"),
        ("critical", "Whether jobs wait for space, or soon will.", found.level == "critical"),
    ):
        yield GaugeMetricFamily(f"strongroom_disk_{name}", told, value)
    if found.left is not None:
        left_s = round(found.left.total_seconds())
        yield GaugeMetricFamily("strongroom_disk_full_in_seconds", "When it will be full at the last day's rate.", left_s)


def quotas(scene: Scene) -> Iterator[Metric]:
    """Yield what is used of the total, and of the quotas of those libraries that are near them: there may be very many."""
    found = scene.quotas
    if found is None:
        return
    used = GaugeMetricFamily("strongroom_quota_used_bytes", "Stored bytes; without a name: of all.", labels=("library",))
    limit = GaugeMetricFamily("strongroom_quota_limit_bytes", "How many there may be.", labels=("library",))
    near = [one for one in found.tight if one.library_id]
    for one in (found.total, *near):
        used.add_metric((one.library_id,), one.used_bytes)
        if one.limit_bytes is not None:
            limit.add_metric((one.library_id,), one.limit_bytes)
    yield from (used, limit)
    yield GaugeMetricFamily("strongroom_quota_libraries_near", "Libraries near their quota, or at it.", len(near))
    full = sum(one.state == "full" for one in near)
    yield GaugeMetricFamily("strongroom_quota_libraries_full", "Libraries at their quota: their jobs wait.", full)


def build(_scene: Scene) -> Iterator[Metric]:
    """Yield what runs here."""
    family = GaugeMetricFamily("strongroom_build_info", "What runs here.", labels=("disk_format", "catalogue", "python"))
    family.add_metric((str(FORMAT), HEAD, platform.python_version()), 1)
    yield family


GROUPS: tuple[Group, ...] = (jobs, waiting, parts, schedules, coverage, space, quotas, alarms, build)
"""Every group. A new one is a function and its name here; what it draws from is a field of Scene."""


def all_metrics(scene: Scene) -> list[Metric]:
    """Return the metrics of all groups."""
    return [metric for group in GROUPS for metric in group(scene)]
