"""The daily report's asset and schedule. The page's contents are tested in `cdr_assets_tests.report`."""

import datetime as dt
from zoneinfo import ZoneInfo

from dagster import AssetKey, DagsterRun, DefaultScheduleStatus, RunRequest, SkipReason, build_schedule_context

from cdr_assets.definitions import build_defs
from cdr_assets.orchestration.partitions import daily_partitions, hourly_partitions, hours_of_run, range_of
from cdr_assets.sandbox import ListedCalls
from cdr_assets_tests.conftest import HOUR, Pipeline, record
from cdr_assets_tests.orchestration.test_schedules import publish

REPORT = AssetKey(["published", "daily_report"])


def test_each_day_has_its_page_and_its_figures(pipeline: Pipeline, calls: ListedCalls) -> None:
    calls.add(record("a"))
    calls.add(record("b", HOUR + dt.timedelta(minutes=10), answered=False, abandon=True, talkdate=None))
    assert pipeline.run(HOUR, 2).success
    # A run over hours writes no report.
    assert not pipeline.settings.reports_dir.exists()

    job = build_defs(pipeline.settings).resolve_job_def("daily_report")
    made = job.execute_in_process(
        instance=pipeline.instance, tags=range_of("2026-03-01", "2026-03-02"), raise_on_error=False
    )
    assert made.success
    assert sorted(page.name for page in pipeline.settings.reports_dir.iterdir()) == [
        "2026-03-01.html",
        "2026-03-02.html",
    ]
    assert pipeline.instance.get_materialized_partitions(REPORT) == {"2026-03-01", "2026-03-02"}
    figures = {
        event.partition: {
            name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
        }
        for event in made.get_asset_materialization_events()
    }
    assert figures["2026-03-02"]["offered"] == 2
    assert figures["2026-03-02"]["service_level"] == 0.5
    assert (figures["2026-03-01"]["offered"], figures["2026-03-01"]["hours loaded"]) == (0, 0)
    # Without calls there is no service level. A 0 would be a point in the asset's plot.
    assert "service_level" not in figures["2026-03-01"]


def test_a_page_without_a_copy_fails_in_one_line(pipeline: Pipeline) -> None:
    job = build_defs(pipeline.settings).resolve_job_def("daily_report")
    failed = job.execute_in_process(instance=pipeline.instance, partition_key="2026-03-01", raise_on_error=False)
    (failure,) = [event for event in failed.all_events if event.is_step_failure]
    assert "run `cdr backfill`" in str(failure.step_failure_data.user_failure_data.description)


def test_every_morning_asks_for_the_days_that_may_have_changed(pipeline: Pipeline) -> None:
    defs = build_defs(pipeline.settings)
    schedule = defs.get_repository_def().get_schedule_def("daily_report")
    assert schedule.default_status is DefaultScheduleStatus.RUNNING
    morning = dt.datetime(2026, 3, 9, 6, tzinfo=ZoneInfo("Europe/Istanbul"))

    def asked(at: dt.datetime) -> RunRequest | SkipReason:
        (answer,) = schedule(build_schedule_context(pipeline.instance, scheduled_execution_time=at))
        return answer

    assert asked(morning) == SkipReason("nothing is due")
    publish(pipeline.settings, {dt.datetime(2026, 3, 8, 23): dt.timedelta(hours=1)})
    assert asked(morning).tags == range_of("2026-03-05", "2026-03-08")
    # CDR_START is 2026-03-01, so there are fewer days to report.
    assert asked(morning - dt.timedelta(days=6)).tags == range_of("2026-03-01", "2026-03-02")


def test_a_run_over_days_is_no_run_over_hours(pipeline: Pipeline) -> None:
    """The gap sensor reads the hours of every running run, and must not take days for hours."""
    days, hours = daily_partitions(pipeline.settings), hourly_partitions(pipeline.settings)
    first = days.get_first_partition_key()
    assert hours_of_run(hours, DagsterRun("daily_report", tags=range_of(first, first))) == []
    assert hours_of_run(hours, DagsterRun("daily_report", tags={"dagster/partition": first})) == []
