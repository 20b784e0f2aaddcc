"""The settings: environment variables and `.env`, read once and typed.

Names and defaults are public; `.env.example` lists them. Nothing here uses the network or creates a file; `cdr check`
(`cli/commands.py`) tries the settings out. A wrong value raises `SettingsError`, one line for the operator.
"""

import datetime as dt
import os
import re
from enum import StrEnum
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.files import refuse_planted
from cdr_assets.domain.first_hour import begin_with, read_first_hour
from cdr_assets.domain.lateness import CALLS_KEPT_FOR
from cdr_assets.domain.project import PROJECT
from cdr_assets.domain.redaction import SHORTEST_SECRET

#: Characters that the key of the pseudonyms has at least.
KEY_LENGTH = 32

_LOOPBACK = ("127.0.0.1", "localhost", "::1")

_DEFAULT_PORTS = {"https": 443, "http": 80}

# Names that no public host has. A monitor or a chat server in the company's own network often has no certificate.
_NEAR = (".local", ".lan", ".internal", ".home.arpa")

# Visible characters of ASCII, but for those that stand between or around addresses.
_MAIL = re.compile(r"[!-+\--:=?A-~]+@[!-+\--:=?A-~]+")

# DuckDB reads the part of a path after a ? as options. Dagster's SQLite URLs decode %20 as well. Control characters and
# half surrogate pairs fail in both.
_MISREAD = re.compile("[?\x00-\x1f\x7f\ud800-\udfff]")
_MISREAD_BY_DAGSTER = re.compile(f"{_MISREAD.pattern}|%[0-9A-Fa-f]{{2}}")


class SettingsError(OperatorError):
    """A setting is missing or wrong. The text names the variable and the value to write there."""


class Callers(StrEnum):
    """How the published copy shows phone numbers."""

    PSEUDONYM = "pseudonym"
    CLEAR = "clear"
    NONE = "none"


class Readers(StrEnum):
    """Which users of the machine may read the published copy: its owner alone, the group of its folder too, or all."""

    OWNER = "owner"
    GROUP = "group"
    ALL = "all"

    @property
    def file_mode(self) -> int:
        return {Readers.OWNER: 0o400, Readers.GROUP: 0o440, Readers.ALL: 0o444}[self]

    @property
    def folder_mode(self) -> int:
        return {Readers.OWNER: 0o700, Readers.GROUP: 0o750, Readers.ALL: 0o755}[self]


def local_hour(text: str) -> dt.datetime:
    """Reads `2026-03-02` or `2026-03-02 05:00`, cut to the hour, naive. Raises ValueError for any other text."""
    try:
        moment = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is not a date; write 2026-03-02 or '2026-03-02 05:00'") from None
    if moment.tzinfo is not None:
        raise ValueError(f"{text!r} carries a zone; write the tenant's wall clock without one")
    return moment.replace(minute=0, second=0, microsecond=0)


def _local_hour(value: Any) -> Any:
    return local_hour(value) if isinstance(value, str) else value


LocalHour = Annotated[dt.datetime, BeforeValidator(_local_hour)]


def _split(value: SecretStr, example: str) -> SplitResult:
    try:
        url = urlsplit(value.get_secret_value())
        _ = url.port  # Raises ValueError if the port is wrong.
    except ValueError:
        # Python's own message quotes the address.
        raise ValueError(f"the address cannot be read; write {example}") from None
    return url


def _is_near(host: str) -> bool:
    """Whether the host is this machine, or in its own network as far as its name or number tells."""
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_NEAR)
    return address.is_private and not address.is_unspecified


def _listed(value: SecretStr | None) -> list[str]:
    """The mail addresses in a text with commas or semicolons between them."""
    return [one.strip() for one in re.split("[,;]", value.get_secret_value()) if one.strip()] if value else []


class Settings(BaseSettings):
    """One attribute per public variable, its name in lower case. `read_settings` also reads `.env`."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore")

    alotech_tenant: str | None = None
    alotech_base_url: str | None = None
    # Hidden in repr and a SecretStr, because a settings object may be logged.
    alotech_app_token: SecretStr | None = Field(default=None, repr=False)
    alotech_timezone: str = "Europe/Istanbul"
    alotech_max_concurrency: int = Field(default=4, ge=1, le=64)
    alotech_requests_per_second: float = Field(default=10, ge=0)
    cdr_start: LocalHour = dt.datetime(2025, 1, 1)
    cdr_settle_minutes: int = Field(default=10, ge=0, le=1440)
    cdr_late_minutes: int = Field(default=120, ge=1)
    cdr_data_dir: Path = Path("data")
    cdr_warehouse: Path | None = None
    cdr_published: Path | None = None
    cdr_published_readers: Readers = Readers.OWNER
    cdr_own_marts: Path = Path("own_marts")
    cdr_raw_pages_days: int | None = Field(default=None, ge=1)
    cdr_calls_days: int | None = None
    cdr_marts_days: int | None = None
    cdr_callers: Callers = Callers.PSEUDONYM
    cdr_secret_key: SecretStr | None = Field(default=None, repr=False)
    cdr_country: str = "TR"
    # Secret, because whoever knows one of these addresses can write to it, or say that all is well.
    cdr_alert_url: SecretStr | None = Field(default=None, repr=False)
    cdr_smtp_url: SecretStr | None = Field(default=None, repr=False)
    cdr_alert_to: SecretStr | None = Field(default=None, repr=False)
    cdr_heartbeat_url: SecretStr | None = Field(default=None, repr=False)

    _is_start_set: bool = PrivateAttr(default=True)

    @model_validator(mode="before")
    @classmethod
    def _cut_blanks(cls, values: dict[str, Any]) -> dict[str, Any]:
        # Files saved on Windows leave a CR after each value, and pasted tokens a blank: AloTech would refuse the token.
        cut = {name: value.strip() if isinstance(value, str) else value for name, value in values.items()}
        return {name: value for name, value in cut.items() if value != ""}

    @field_validator("alotech_timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"{value!r} is not a time zone; write a name like Europe/Istanbul") from None
        return value

    @field_validator("alotech_base_url")
    @classmethod
    def _safe_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("not a web address; write https://…/api/")
        _ = url.port  # Raises ValueError if the port is wrong.
        if url.username is not None or url.password is not None:
            # Commands print this address.
            raise ValueError("it must hold no user and no password; ALOTECH_APP_TOKEN is the only secret")
        if url.scheme == "http" and url.hostname not in _LOOPBACK:
            # Every URL contains the token, which anybody on the network could read.
            raise ValueError("plain http would show the token to the network; write https://")
        return value

    @field_validator("alotech_tenant")
    @classmethod
    def _tenant_is_a_name(cls, value: str | None) -> str | None:
        if value is not None and not value.replace("-", "").isalnum():
            raise ValueError(f"{value!r} is not a tenant; for https://acme.alo-tech.com write acme")
        return value

    @field_validator("cdr_secret_key")
    @classmethod
    def _long_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < KEY_LENGTH:
            # All phone numbers can be tried in minutes, and so can all keys of eight letters.
            raise ValueError(
                f"shorter than {KEY_LENGTH} characters, so that it could be guessed; remove it (a key is then made), "
                "or write a random one"
            )
        return value

    @field_validator("cdr_calls_days")
    @classmethod
    def _calls_outlive_look_backs(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is None:
            return value
        if value < CALLS_KEPT_FOR.days:
            raise ValueError(
                f"schedules read calls again for a month, and the marts need some days more; write "
                f"{CALLS_KEPT_FOR.days} or more"
            )
        if (info.data.get("cdr_raw_pages_days") or 0) > value:
            raise ValueError(
                "raw pages hold the calls, and would keep them longer (CDR_RAW_PAGES_DAYS); write at least as many days"
            )
        return value

    @field_validator("cdr_marts_days")
    @classmethod
    def _marts_outlive_calls(cls, value: int | None, info: ValidationInfo) -> int | None:
        calls_days = info.data.get("cdr_calls_days")
        if value is not None and (calls_days is None or value < calls_days):
            raise ValueError(
                "the marts are made of the calls, and would be made again as long as these are kept; write at least as "
                "many days as CDR_CALLS_DAYS has, or remove it"
            )
        return value

    @field_validator("cdr_alert_url", "cdr_heartbeat_url")
    @classmethod
    def _safe_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return value
        # No error repeats the address, which is a secret.
        url = _split(value, "https://…")
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("not a web address; write https://…")
        if url.scheme == "http" and not _is_near(url.hostname):
            raise ValueError(
                "plain http to a public name would show the address, with which anybody can write there; write "
                "https://… (http is for this machine, private IP addresses, names without a dot, and names that end in "
                f"{', '.join(_NEAR)})"
            )
        return value

    @field_validator("cdr_smtp_url")
    @classmethod
    def _mail_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return value
        url = _split(value, "smtp://user:password@host:587")
        if url.scheme not in ("smtp", "smtps") or not url.hostname or url.path.strip("/"):
            raise ValueError("not a mail server; write smtp://user:password@host:587, or smtps:// with port 465")
        if (url.username is None) != (url.password is None):
            raise ValueError("a user without a password, or a password without a user; write both or neither")
        options = parse_qs(url.query)
        if options and (set(options) != {"from"} or not _MAIL.fullmatch(options["from"][0])):
            raise ValueError("after the ? only a sender may stand; write ?from=name@example.com")
        return value

    @field_validator("cdr_alert_to")
    @classmethod
    def _mail_addresses(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not all(map(_MAIL.fullmatch, _listed(value))):
            raise ValueError("not mail addresses; write name@example.com, several with commas between them")
        return value

    @model_validator(mode="after")
    def _mail_is_whole(self) -> Self:
        if (self.cdr_smtp_url is None) != (self.cdr_alert_to is None):
            raise ValueError("CDR_SMTP_URL and CDR_ALERT_TO go together; write both in .env, or neither")
        return self

    @field_validator("cdr_country")
    @classmethod
    def _country_is_a_code(cls, value: str) -> str:
        if not re.fullmatch("[A-Za-z]{2}", value):
            raise ValueError(f"{value!r} is not a country; write its two letters, like TR")
        return value.upper()

    @property
    def is_start_set(self) -> bool:
        """Whether `cdr_start` is the user's. If not, the partitions begin with the first hour that was asked for."""
        return self._is_start_set

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.alotech_timezone)

    @property
    def base_url(self) -> str:
        """URL of the endpoint. Raises SettingsError if neither tenant nor URL is set."""
        if self.alotech_base_url:
            return self.alotech_base_url
        if self.alotech_tenant:
            return f"https://{self.alotech_tenant}.alo-tech.com/api/"
        raise SettingsError("ALOTECH_TENANT is not set: write the tenant's name (acme for acme.alo-tech.com) in .env")

    @property
    def source(self) -> str:
        """Identifies the tenant: its endpoint as host, port and path, even if a proxy with another address is used.

        Without ALOTECH_TENANT it is the endpoint of ALOTECH_BASE_URL, with port and path, because one proxy may serve
        another tenant on each of them. The scheme and its default port are left out.
        """
        if self.alotech_tenant:
            return f"{self.alotech_tenant.lower()}.alo-tech.com/api"
        url = urlsplit(self.base_url)
        host = url.hostname or ""
        host = "127.0.0.1" if host in _LOOPBACK else f"[{host}]" if ":" in host else host
        port = "" if url.port in (None, _DEFAULT_PORTS[url.scheme]) else f":{url.port}"
        return f"{host}{port}/{url.path.strip('/')}"

    @property
    def token(self) -> str:
        """The application token. Raises SettingsError if it is not set."""
        if self.alotech_app_token is None:
            raise SettingsError("ALOTECH_APP_TOKEN is not set: write the application token in .env")
        return self.alotech_app_token.get_secret_value()

    def require_tenant(self) -> None:
        """Raises SettingsError that names every missing setting without which no request can be sent."""
        missing = []
        for needed in ("base_url", "token"):
            try:
                getattr(self, needed)
            except SettingsError as error:
                missing.append(str(error))
        if missing:
            raise SettingsError("; ".join(missing))

    @property
    def secrets(self) -> list[str]:
        """The values of all secret settings that are set: a new setting is one of them if its type is SecretStr.

        With the parts of addresses that others quote by themselves: passwords, mail addresses, the path of a webhook.
        """
        whole = [value.get_secret_value() for _, value in self if isinstance(value, SecretStr)]
        parts = self.mail_to
        for address in (self.cdr_alert_url, self.cdr_heartbeat_url, self.cdr_smtp_url):
            if address is not None:
                url = urlsplit(address.get_secret_value())
                path = url.path + (f"?{url.query}" if url.query else "")
                parts += [unquote(url.password or ""), *([path] if len(path) >= SHORTEST_SECRET else [])]
        return list(dict.fromkeys(filter(None, whole + parts)))

    @property
    def mail_to(self) -> list[str]:
        """The mail addresses of CDR_ALERT_TO."""
        return _listed(self.cdr_alert_to)

    @property
    def deletes_calls(self) -> bool:
        """Whether calls, figures or pages are deleted when they are old."""
        return bool(self.cdr_calls_days or self.cdr_marts_days or self.cdr_raw_pages_days)

    @property
    def warehouse_path(self) -> Path:
        return self.cdr_warehouse or self.cdr_data_dir / "warehouse" / "warehouse.duckdb"

    @property
    def published_path(self) -> Path:
        return self.cdr_published or self.cdr_data_dir / "published" / "callcentre.duckdb"

    @property
    def first_hour_path(self) -> Path:
        return self.cdr_data_dir / "first_hour"

    @property
    def secret_key_path(self) -> Path:
        return self.cdr_data_dir / "secret_key"

    @property
    def reports_dir(self) -> Path:
        return self.cdr_data_dir / "reports"


def find_dot_env() -> Path | None:
    """The nearest `.env` in the working directory or above it, otherwise the project's own; None if there is none.

    Skips files without any of our variables: they belong to other programs. Raises SettingsError if it is not UTF-8 or
    this user cannot read it, OperatorError if another user owns it: /tmp/.env would redirect all who work below /tmp.
    """
    here = Path.cwd()
    for file in (folder / ".env" for folder in (here, *here.parents, PROJECT)):
        if os.path.isfile(file):  # noqa: PTH113  Path.is_file raises if this user may not read a folder above.
            try:
                content = file.read_bytes()
            except OSError as error:
                raise SettingsError(f"cannot read {file}: {error.strerror}; let this user read it") from None
            # In UTF-16 there is a NUL next to each letter.
            if re.search(rb"(?:ALOTECH|CDR)_[A-Z]", content.replace(b"\0", b"")):
                refuse_planted(file, is_link_allowed=True)
                try:
                    content.decode("utf-8")
                except ValueError:
                    content = b"\0"
                if b"\0" in content:
                    raise SettingsError(f"{file} is not in UTF-8, so that it cannot be read; save it as UTF-8")
                return file
    return None


def warnings_about(settings: Settings) -> list[str]:
    """A line for each thing that works, and that the operator should change."""
    warnings = []
    file = find_dot_env()
    if file:
        found = file.stat()
        # If the file is root's, a service may have to read it through its group.
        if found.st_mode & (0o077 if found.st_uid == os.geteuid() else 0o007):
            warnings.append(
                f"other users of this machine can read {file}, and what is secret in it: `chmod 600 {file}`"
            )
    token = settings.alotech_app_token
    if token and len(token.get_secret_value()) < SHORTEST_SECRET:
        warnings.append(
            f"ALOTECH_APP_TOKEN has fewer than {SHORTEST_SECRET} characters: it could be guessed, and cannot be told "
            "from other text where a server sends it back; ask AloTech for a longer one"
        )
    return warnings


def read_settings() -> Settings:
    """The settings of this process. Raises SettingsError that names every wrong variable.

    Relative paths start at the folder of `.env`, so that `cdr` works in every folder below it. Without a `.env` they
    start at the working directory.
    """
    file = find_dot_env()
    try:
        # utf-8-sig: editors on Windows write a byte order mark, which would become part of the first name.
        settings = Settings(_env_file=file, _env_file_encoding="utf-8-sig")  # type: ignore[call-arg]
    except ValidationError as error:
        wrong = []
        for problem in error.errors():
            variable = "_".join(str(part) for part in problem["loc"]).upper() or "settings"
            wrong.append(f"{variable}: {problem['msg'].removeprefix('Value error, ')}")
        # Pydantic's own message repeats the value, which may be the secret.
        raise SettingsError("; ".join(wrong)) from None
    if settings.cdr_start > dt.datetime.now(settings.zone).replace(tzinfo=None):
        raise SettingsError(f"CDR_START: {settings.cdr_start:%Y-%m-%d %H:%M} lies in the future; write a past date")
    settings._is_start_set = "cdr_start" in settings.model_fields_set
    folder = file.parent if file else Path.cwd()
    settings.cdr_own_marts = folder / settings.cdr_own_marts
    settings.cdr_data_dir = _path("CDR_DATA_DIR", folder, settings.cdr_data_dir, _MISREAD_BY_DAGSTER)
    if settings.cdr_warehouse:
        settings.cdr_warehouse = _path("CDR_WAREHOUSE", folder, settings.cdr_warehouse, _MISREAD)
    if settings.cdr_published:
        settings.cdr_published = _path("CDR_PUBLISHED", folder, settings.cdr_published, _MISREAD)
    if not settings.is_start_set:
        settings.cdr_start = read_first_hour(settings.first_hour_path) or settings.cdr_start
    return settings


def ask_from(settings: Settings, hour: dt.datetime) -> None:
    """Lets the partitions begin at `hour`, the first that is asked for now, unless CDR_START is set.

    Call it before anything is written: it takes an installation with a warehouse for one that has begun.
    """
    if not settings.is_start_set:
        # Of any name: older versions called it cdr.duckdb.
        is_new = not any(settings.warehouse_path.parent.glob("*.duckdb"))
        settings.cdr_start = begin_with(settings.first_hour_path, hour, is_new=is_new) or settings.cdr_start


def _path(variable: str, folder: Path, path: Path, misread: re.Pattern[str]) -> Path:
    # os.path.expanduser, because Path.expanduser raises if the user in ~user does not exist.
    whole = folder / os.path.expanduser(path)  # noqa: PTH111
    if found := misread.search(str(whole)):
        raise SettingsError(f"{variable}: databases misread {found[0]!r} in {whole}; write a path without it")
    return whole
