"""Settings from the environment and `.env`: where `.env` is found, how values are trimmed, which are refused and
how."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from cdr_assets.domain.errors import OperatorError
from cdr_assets.domain.settings import KEY_LENGTH, Settings, SettingsError, find_dot_env, read_settings
from cdr_assets_tests.conftest import TOKEN, give_away

TURKISH = f"# çağrı merkezi\nALOTECH_TENANT=acme\nALOTECH_APP_TOKEN={TOKEN}\nCDR_DATA_DIR=mydata\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder. The working directory is a folder inside it."""
    (tmp_path / "project" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project" / "below")
    monkeypatch.setattr("cdr_assets.domain.settings.find_dot_env", find_dot_env)
    monkeypatch.setattr("cdr_assets.domain.settings.PROJECT", tmp_path / "root")
    return tmp_path / "project"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_dot_env_is_found_above_and_relative_folders_start_there(folder: Path, encoding: str) -> None:
    (folder / ".env").write_text(TURKISH, encoding=encoding)
    settings = read_settings()
    assert (settings.alotech_tenant, settings.token) == ("acme", TOKEN)
    assert settings.cdr_data_dir == folder / "mydata"
    assert settings.warehouse_path == folder / "mydata" / "warehouse" / "warehouse.duckdb"


@pytest.mark.parametrize("encoding", ["cp1254", "utf-16", "utf-16-le", "utf-16-be"])
def test_dot_env_in_another_encoding_is_one_line(folder: Path, encoding: str) -> None:
    (folder / ".env").write_text(TURKISH, encoding=encoding)
    with pytest.raises(SettingsError) as raised:
        read_settings()
    assert str(raised.value) == f"{folder / '.env'} is not in UTF-8, so that it cannot be read; save it as UTF-8"


def test_the_nearest_dot_env_of_ours_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.parent / "root").mkdir()
    (folder.parent / "root" / ".env").write_text("ALOTECH_TENANT=of-the-project\n")
    (folder / ".env").write_text("DATABASE_URL=of another program\n", encoding="utf-16")
    (folder / "below" / ".env").mkdir()
    settings = read_settings()
    assert (settings.alotech_tenant, settings.cdr_data_dir) == ("of-the-project", folder.parent / "root" / "data")
    (folder / ".env").write_text("ALOTECH_TENANT=nearer\n")
    monkeypatch.setenv("CDR_PUBLISHED", "copy.duckdb")
    settings = read_settings()
    assert (settings.alotech_tenant, settings.published_path) == ("nearer", folder / "copy.duckdb")


def test_a_dot_env_of_another_user_is_refused(folder: Path) -> None:
    # As root, below a folder in which others can write, such as /tmp.
    (folder.parent / ".env").write_text("ALOTECH_BASE_URL=https://collects-tokens.example/api/\n")
    give_away(folder.parent / ".env")
    with pytest.raises(OperatorError, match=f"^{folder.parent / '.env'} belongs to user 54321 "):
        read_settings()


def test_every_setting_that_is_secret_is_cut_from_messages() -> None:
    key = "k" * KEY_LENGTH
    assert Settings(alotech_app_token=TOKEN, cdr_secret_key=key).secrets == [TOKEN, key]
    assert Settings().secrets == []


def test_a_key_that_could_be_guessed_is_refused_and_not_shown(folder: Path) -> None:
    (folder / ".env").write_text("CDR_SECRET_KEY=kolay-bir-anahtar\nCDR_COUNTRY=Turkey\n")
    with pytest.raises(SettingsError) as error:
        read_settings()
    told = str(error.value)
    assert "CDR_SECRET_KEY: shorter than 32 characters" in told
    assert "CDR_COUNTRY: 'Turkey' is not a country; write its two letters, like TR" in told
    assert "kolay" not in told


def test_without_dot_env_relative_folders_start_in_the_working_directory(folder: Path) -> None:
    assert read_settings().cdr_data_dir == folder / "below" / "data"


def test_blanks_and_carriage_returns_belong_to_no_value(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_bytes(b'ALOTECH_TENANT=" acme "\r\nALOTECH_BASE_URL= \r\n')
    monkeypatch.setenv("ALOTECH_APP_TOKEN", f" {TOKEN}\r\n")
    monkeypatch.setenv("CDR_DATA_DIR", f"{folder}/data\r")
    monkeypatch.setenv("CDR_CALLERS", "clear\r")
    monkeypatch.setenv("CDR_SETTLE_MINUTES", "5\r")
    monkeypatch.setenv("CDR_SECRET_KEY", " ")
    settings = read_settings()
    assert (settings.base_url, settings.token) == ("https://acme.alo-tech.com/api/", TOKEN)
    assert (settings.cdr_data_dir, settings.cdr_callers.value) == (folder / "data", "clear")
    assert (settings.cdr_settle_minutes, settings.cdr_secret_key) == (5, None)


@pytest.mark.parametrize(
    ("variable", "path"),
    [
        ("CDR_DATA_DIR", "my%20data"),
        ("CDR_DATA_DIR", "data?x=1"),
        ("CDR_DATA_DIR", "two\nlines"),
        ("CDR_WAREHOUSE", "/tmp/what?/cdr.duckdb"),
        ("CDR_PUBLISHED", "what?.duckdb"),
    ],
)
def test_a_path_that_a_database_would_misread_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, path: str
) -> None:
    monkeypatch.setenv(variable, path)
    with pytest.raises(SettingsError, match=f"^{variable}: databases misread "):
        read_settings()


def test_what_is_missing_is_told_at_once() -> None:
    with pytest.raises(SettingsError, match=r"^ALOTECH_TENANT is not set: .*; ALOTECH_APP_TOKEN is not set: "):
        read_settings().require_tenant()


@pytest.mark.parametrize(
    ("given", "source"),
    [
        ({"alotech_tenant": "Acme"}, "acme.alo-tech.com/api"),
        ({"alotech_tenant": "acme", "alotech_base_url": "https://proxy.example/x"}, "acme.alo-tech.com/api"),
        ({"alotech_base_url": "https://ACME.alo-tech.com:443/api/"}, "acme.alo-tech.com/api"),
        ({"alotech_base_url": "https://proxy.example/acme/api"}, "proxy.example/acme/api"),
        ({"alotech_base_url": "https://proxy.example:8443"}, "proxy.example:8443/"),
        ({"alotech_base_url": "http://localhost:8000/api/"}, "127.0.0.1:8000/api"),
        ({"alotech_base_url": "https://[2001:db8::1]:8443/api/"}, "[2001:db8::1]:8443/api"),
    ],
)
def test_a_source_is_an_endpoint(given: dict[str, str], source: str) -> None:
    assert Settings(**given).source == source


@pytest.mark.parametrize(
    ("address", "is_taken"),
    [
        ("https://hooks.example.com/services/T0/B0/x", True),
        ("http://127.0.0.1:8000/x", True),
        ("http://localhost/x", True),
        ("http://[::1]:8000/x", True),
        # The company's own network: an address that no public host has, or a name that none can have.
        ("http://10.1.2.3/x", True),
        ("http://monitor:3001/api/push/x", True),
        ("http://chat.acme.internal/x", True),
        ("http://hooks.example.com/x", False),
        ("http://8.8.8.8/x", False),
        ("http://0.0.0.0/x", False),
        ("ftp://hooks.example.com/x", False),
        ("hooks.example.com/x-secret", False),
        ("https://hooks.example.com:x-secret/x", False),
        ("https://[x-secret/x", False),
    ],
)
def test_an_address_of_alerts_is_shown_to_nobody_on_the_way(address: str, is_taken: bool) -> None:
    for name in ("cdr_alert_url", "cdr_heartbeat_url"):
        if is_taken:
            assert "/x" not in repr(Settings(**{name: address}))
        else:
            with pytest.raises(ValidationError) as raised:
                Settings(**{name: address})
            [problem] = raised.value.errors()
            assert "write https://…" in problem["msg"]
            assert "x-secret" not in problem["msg"]


@pytest.mark.parametrize(
    ("server", "to", "told"),
    [
        ("smtp://mail.example.com", "a@example.com", None),
        ("smtps://user%40example.com:p%2Fss@mail.example.com:465?from=cdr@example.com", "a@b.c, d@e.f; g@h.i", None),
        ("mail.example.com:587", "a@b.c", "CDR_SMTP_URL: not a mail server; write smtp://user:password@host:587"),
        ("smtp://user@mail.example.com", "a@b.c", "CDR_SMTP_URL: a user without a password"),
        ("smtp://mail.example.com?cc=a@b.c", "a@b.c", "CDR_SMTP_URL: after the ? only a sender may stand"),
        ("smtp://mail.example.com?from=a@b.c%0d%0aBcc:x@y.z", "a@b.c", "CDR_SMTP_URL: after the ? only a sender"),
        ("smtp://mail.example.com", "nobody", "CDR_ALERT_TO: not mail addresses; write name@example.com"),
        ("smtp://mail.example.com", "", "CDR_SMTP_URL and CDR_ALERT_TO go together"),
        ("", "a@b.c", "CDR_SMTP_URL and CDR_ALERT_TO go together"),
    ],
)
def test_mail_is_set_whole_or_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, server: str, to: str, told: str | None
) -> None:
    monkeypatch.setenv("CDR_SMTP_URL", server)
    monkeypatch.setenv("CDR_ALERT_TO", to)
    if told is None:
        settings = read_settings()
        assert settings.mail_to == re.split("[,;] ", to)
        assert not [part for part in (server, *settings.mail_to) if part in repr(settings)]
        return
    with pytest.raises(SettingsError) as raised:
        read_settings()
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_secret_parts_of_addresses_are_secrets() -> None:
    settings = Settings(
        cdr_alert_url="https://hooks.example.com/services/T0/B0/abcdefgh",
        cdr_smtp_url="smtps://user:p%2Fssw0rd@mail.example.com",
        cdr_alert_to="a@b.c,d@e.f",
    )
    assert {"/services/T0/B0/abcdefgh", "p/ssw0rd", "a@b.c", "d@e.f"} <= set(settings.secrets)
