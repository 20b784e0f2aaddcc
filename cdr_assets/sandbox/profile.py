"""The data of the generated call centre: its queues and their hours, its demand, its agents' names, its tags.

`simulation` makes calls from it. All people, numbers and addresses are invented.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Queue:
    """A queue. `hours` are (opens, closes) in local hours for Monday to Sunday, equal if closed. Means are in
    seconds."""

    key: str
    name: str
    called_num: str
    share: float  # of the demand
    hours: tuple[tuple[int, int], ...]
    talk_mean: float
    patience_mean: float
    tags: tuple[str, ...]
    takes_voicemail: bool = False
    calls_out: bool = False

    def is_open(self, weekday: int, hour: int) -> bool:
        opens, closes = self.hours[weekday]
        return opens <= hour < closes


_DAILY = ((8, 22),) * 7
_ROUND_THE_CLOCK = ((0, 24),) * 7

# One queue never closes, so that every hour of the week is an open hour.
QUEUES = (
    Queue(
        "Q1001",
        "Müşteri Hizmetleri",
        "08500000001",
        0.36,
        _DAILY,
        210,
        200,
        ("bilgi talebi", "şikâyet", "adres değişikliği", "öneri"),
        calls_out=True,
    ),
    Queue(
        "Q1002",
        "Fatura ve Ödeme",
        "08500000002",
        0.20,
        ((9, 20),) * 6 + ((0, 0),),
        170,
        150,
        ("fatura itirazı", "ödeme sözü", "taksit", "gecikme"),
        takes_voicemail=True,
    ),
    Queue(
        "Q1003",
        "Teknik Destek",
        "08500000003",
        0.20,
        ((8, 24),) * 7,
        360,
        300,
        ("kurulum", "bağlantı sorunu", "cihaz değişimi", "ikinci seviye"),
        takes_voicemail=True,
    ),
    Queue(
        "Q1004",
        "Satış",
        "08500000004",
        0.10,
        ((9, 21),) * 6 + ((0, 0),),
        260,
        120,
        ("yeni abonelik", "kampanya", "geri aranacak"),
        calls_out=True,
    ),
    Queue(
        "Q1005",
        "İptal ve İade",
        "08500000005",
        0.06,
        ((9, 18),) * 5 + ((0, 0),) * 2,
        300,
        180,
        ("iptal", "iade", "vazgeçti", "şikâyet"),
        calls_out=True,
    ),
    Queue(
        "Q1006",
        "Ağ Arızaları (7/24)",
        "08500000006",
        0.08,
        _ROUND_THE_CLOCK,
        140,
        100,
        ("arıza kaydı", "bölgesel kesinti"),
        takes_voicemail=True,
    ),
)

OUTBOUND_NUMBER = "08500000000"

# Demand by local hour, and by weekday from Monday.
DEMAND_BY_HOUR = (
    *(0.16, 0.11, 0.08, 0.07, 0.08, 0.12, 0.20, 0.35),
    *(0.65, 1.10, 1.40, 1.45, 1.20, 1.15, 1.35, 1.35),
    *(1.25, 1.10, 0.95, 0.85, 0.75, 0.60, 0.40, 0.20),
)
DEMAND_BY_WEEKDAY = (1.20, 1.08, 1.02, 1.00, 1.04, 0.80, 0.55)

# How many callers call a closed queue, as a share of the demand. They hear that it is closed and hang up.
CLOSED_DEMAND = 0.12

FIRST_NAMES = (
    *("Ayşe", "Çağla", "Şule", "İrem", "Gülşah", "Özge", "Büşra", "Iraz", "Tuğba", "Zeynep"),
    *("Nurgül", "Sıla", "Defne", "Elif", "Ülkü", "Hatice", "Merve", "Yağmur", "Öykü", "Nazlı"),
    *("Ömer", "Çetin", "Şükrü", "İsmail", "Oğuz", "Uğur", "Barış", "Kağan", "Işık", "Mustafa"),
    *("Yiğit", "Volkan", "Emre", "Ali", "Gökhan", "Süleyman", "Hüseyin", "Doğan", "Tarık", "Can"),
)
LAST_NAMES = (
    *("Yılmaz", "Öztürk", "Şahin", "Çelik", "Yıldız", "Güneş", "Aydın", "Koç", "Işık", "Ünal"),
    *("Doğan", "Kılıç", "Aslan", "Çetin", "Kara", "Kurt", "Özkan", "Şimşek", "Polat", "Erdoğan"),
    *("Yıldırım", "Güler", "Ateş", "Bulut", "Coşkun", "Taş", "Uçar", "İnan", "Soylu", "Ağaoğlu"),
)

SURVEY_BY_PHONE = "Görüşme sonu anketi"
SURVEY_BY_MESSAGE = "Kısa mesaj anketi"
# Each question and its best score. The scales differ, so that their scores cannot be averaged together.
SATISFACTION = ("Görüşmeden memnun kaldınız mı?", 5)
RECOMMENDATION = ("Bizi önerir misiniz?", 10)

_ASCII = str.maketrans("çğıöşüÇĞİÖŞÜâ", "cgiosuCGIOSUa")


def agent_names(number: int) -> tuple[str, str]:
    """The full name and the username of the agent with this number. No two usernames are the same."""
    first = FIRST_NAMES[number % len(FIRST_NAMES)]
    # Each time the first names start over, the last names come in another order.
    again, pair = divmod(number, len(FIRST_NAMES) * len(LAST_NAMES))
    last = LAST_NAMES[(pair * 7 + pair // len(FIRST_NAMES)) % len(LAST_NAMES)]
    suffix = str(again + 1) if again else ""
    username = f"{first}.{last}{suffix}".translate(_ASCII).lower()
    return f"{first} {last}", f"{username}@centre.example"
