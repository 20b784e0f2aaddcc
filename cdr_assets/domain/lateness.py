"""How late a call may still change, and how long it is asked for again. One rule, from which all others follow.

Calls end, change, vanish and get answers and tags after they were first read. An hour counts as final once it was read
FINAL_AFTER its end. Schedules, the gap sensor, the audit, the daily report and the marts derive their spans from here;
dbt gets them as environment variables (`marts/build.py`).
"""

import datetime as dt

DAY = dt.timedelta(days=1)

# An hour that was read this long after its end, and whose calls have all ended, is final.
FINAL_AFTER = dt.timedelta(days=2)

# A nightly tick reads an hour for the last time up to a day after it could become final.
LAST_READ_WITHIN = FINAL_AFTER + DAY

# How far back the gap sensor looks: what is older, the night asks for.
GAPS_WITHIN = LAST_READ_WITHIN

# What the nightly look-back asks for. The two hours are for an hour that ended just after a tick, and for a day of 25
# hours.
NIGHTLY_LOOK_BACK = LAST_READ_WITHIN + dt.timedelta(hours=2)

# When no scheduled reading of an hour is left: a difference to the API that is older will not mend itself.
LOOK_BACK_OVER = NIGHTLY_LOOK_BACK + DAY

# The page of a day is written again until all of its hours are final, which the third night makes them, and once more.
REPORTED_DAYS = LAST_READ_WITHIN.days + 1

# A call that has not ended after a day will hardly end: its record is broken, and asking for it again mends nothing.
OPEN_FOR = DAY

# Survey answers come in for weeks; their sweep needs few pages.
CSAT_DAYS = 30
CSAT_OVER = dt.timedelta(days=CSAT_DAYS) + DAY

# How far back a night makes up for hours that an outage left out.
CATCH_UP = dt.timedelta(days=30)
