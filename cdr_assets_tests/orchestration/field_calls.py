"""Wrong call records as they occur in practice: an ordinary answered call with one thing wrong in each.

They follow public reports of bugs in other systems' call records. Names, numbers and addresses are invented. Random
wrong records are in `cdr_assets_tests.dirty`.
"""

import datetime as dt
from typing import Any

DAY = dt.datetime(2026, 3, 2)

Record = dict[str, Any]


def ordinary(key: str, hour: int, minute: int = 10, **fields: Any) -> Record:
    """A call that is queued at once and answered after 30 s, with half a minute of talk."""
    start = DAY + dt.timedelta(hours=hour, minutes=minute)

    def date(seconds: int) -> str:
        return f"{start + dt.timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S}"

    return {
        "key": key, "callid": f"sip-{key}", "queued": True, "answered": True, "assigned": True, "abandon": False,
        "queuedate": date(0), "calldate": date(0), "talkdate": date(30), "hangupdate": date(60), "waitduration": 30,
        "duration": 60, "sl": False, "shortcall": False, "callerid": "905550000001", "called_num": "908500000000",
        "queue": "Destek", "inbound": True, "agent": "agent.one@centre.example", "agentid": "a1", "hold": 0,
        "holdduration": 0, "queuekey": "q1", "voicemail": False, "uniqueid": "", "recordingurl": "",
        "localrelease": False, "answeredby": "", "transferred": 0, "channel": "SIP/1", "call_history": [],
        "csat_answers": [], "call_tags": [],
    } | fields  # fmt: skip


#: Each call is in a different hour.
FIELD_CALLS: list[Record] = [
    ordinary("lowest wait", 0, waitduration=-(2**31)),
    ordinary("clock set back", 1, hangupdate="2026-03-02 01:05:00", waitduration=-1, duration=-300),
    ordinary("hang-up in 9999", 2, hangupdate="9999-12-31 23:59:59"),
    ordinary("talk in year 1", 3, talkdate="0001-01-01 00:00:00"),
    ordinary("talk in 1970", 4, talkdate="1970-01-01 02:00:00", answered=False, abandon=True),
    ordinary("clock", 5, waitduration="00:00:30", duration="00:01:00", holdduration="00:00:10", hold=1),
    ordinary("no wait", 6, waitduration="n/a"),
    ordinary("a wait", 6, 11),
    ordinary("year first", 7, calldate="2026/03/02 07:10:00"),
    ordinary("day or month first", 7, 11, calldate="02/03/2026 07:11:00"),
    ordinary("zeros", 8, callerid="0000000000"),
    ordinary("zeros again", 8, 11, callerid="0000000000"),
    ordinary("[/k1]", 9, queue="[bold]x[/bold] :x: \x1b[31mred", queuekey="q-markup"),
    ordinary("no agent", 14, agent="None", agentid="null"),
    ordinary("decimal comma", 15, waitduration="12,5", duration="1.234"),
    ordinary("talk before the call", 16, talkdate="2026-03-02 16:09:00"),
    ordinary("no chain", 17, callid="None"),
    ordinary("no chain either", 17, 11, callid="null"),
    ordinary("talk of two days", 18, hangupdate="2026-03-04 18:10:30", duration=172830),
    ordinary("queued in another year", 19, queuedate="2025-03-02 19:10:00"),
    ordinary("score of a phone", 20, csat_answers=[{"question": "?", "answer": "905550000001"}]),
]
