"""How long after its hour a call may still change, and how long it is fetched again. All time spans derive from here.

Calls end, change, vanish and get answers and tags after they were first read. An hour counts as final once it was read
FINAL_AFTER its end. Schedules, the gap sensor, the audit, the daily report and the marts use these spans, which
`marts/build.py` passes to dbt as environment variables. The schedules are in `orchestration/schedules.py`.
"""

import datetime as dt

DAY = dt.timedelta(days=1)

# An hour is final if it was read this long after its end and all its calls have ended.
FINAL_AFTER = dt.timedelta(days=2)

# The nightly look-back runs once a day, so its last reading of an hour comes up to a day after FINAL_AFTER.
LAST_READ_WITHIN = FINAL_AFTER + DAY

# How far back the gap sensor looks before the first published hour. After it, an outage left the hours out: CATCH_UP.
GAPS_WITHIN = LAST_READ_WITHIN

# The span of the nightly look-back. One extra hour covers an hour that ended just after the last tick, the other a day
# of 25 hours.
NIGHTLY_LOOK_BACK = LAST_READ_WITHIN + dt.timedelta(hours=2)

# After this, no schedule reads the hour again: a difference from the API that is still there will stay.
LOOK_BACK_OVER = NIGHTLY_LOOK_BACK + DAY

# A day's report is written again until the third night has made all its hours final, and once more.
REPORTED_DAYS = LAST_READ_WITHIN.days + 1

# After this, a call without an end counts as a broken record, and fetching it again does not help.
OPEN_FOR = DAY

# Survey answers arrive for weeks. Fetching only calls with answers takes few pages, so that 30 days are affordable.
CSAT_DAYS = 30
CSAT_OVER = dt.timedelta(days=CSAT_DAYS) + DAY

# How far back the gap sensor and the nightly look-back fetch hours that an outage left out.
CATCH_UP = dt.timedelta(days=30)

# How long Dagster's logs of single runs are kept: they grow by 75 MB a day.
HISTORY_KEPT_FOR = dt.timedelta(days=30)

# After the hours whose calls were deleted (CDR_CALLS_DAYS), so much is frozen, because figures and contacts are made of
# calls up to two days away: a day's figures are made of the calls from 25 hours before it, and a contact's legs are
# looked for 50 hours back. What is loaded may touch hours up to a day before it.
FIGURES_FROZEN = 3 * DAY
LOADS_FROZEN = FIGURES_FROZEN + DAY

# Calls must be kept for as long as a schedule reads them again.
CALLS_KEPT_FOR = max(CATCH_UP, CSAT_OVER) + LOADS_FROZEN
