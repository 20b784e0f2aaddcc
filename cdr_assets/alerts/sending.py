"""Sends messages: to a webhook, by mail, and the heartbeat. Each attempt has one deadline and ends in a line of text.

No error quotes an address or a server's words: both may hold secrets, and whoever reads the log may not know them.
"""

import smtplib
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import parse_qs, unquote, urlsplit

import requests

from cdr_assets.alerts.message import Message
from cdr_assets.domain.settings import Settings

# A single wait for the network, and a whole attempt with its repetition. Dagster ends a sensor's tick after 60 s, and
# would then forget that the other receivers got their messages.
_WAIT_SECONDS = 5.0
_ATTEMPT_SECONDS = 12.0
_TRIES = 2
_PAUSE_SECONDS = 1.0

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class NotSentError(Exception):
    """A message could not be sent; the text is one line that says why. `is_passing`: another try may succeed."""

    def __init__(self, reason: str, *, is_passing: bool = False) -> None:
        super().__init__(reason)
        self.is_passing = is_passing


@dataclass(frozen=True)
class Receiver:
    """An address of the settings: the variable that names it, and what sends a message there and returns the answer."""

    name: str
    post: Callable[[Message], str]

    def send(self, message: Message) -> str:
        """Sends the message within the deadline, and returns what was answered. Raises NotSentError."""
        return _bounded(lambda stop: _retried(lambda: self.post(message), stop))


def receivers_of(settings: Settings) -> list[Receiver]:
    """Who gets the messages."""
    receivers = []
    if settings.cdr_alert_url:
        address = settings.cdr_alert_url.get_secret_value()
        receivers.append(Receiver("CDR_ALERT_URL", lambda message: _request("POST", address, message)))
    if settings.cdr_smtp_url:
        receivers.append(Receiver("CDR_SMTP_URL", lambda message: _mail(settings, message)))
    return receivers


def beat(settings: Settings) -> str:
    """Calls CDR_HEARTBEAT_URL, which must be set, and returns what was answered. Raises NotSentError."""
    assert settings.cdr_heartbeat_url
    address = settings.cdr_heartbeat_url.get_secret_value()
    return _bounded(lambda stop: _retried(lambda: _request("GET", address, None), stop))


def _bounded(send: Callable[[threading.Event], str]) -> str:
    """What `send` returns or raises, within the deadline.

    In a thread, because a server that sends a byte now and then resets every timeout of a socket. The thread is a
    daemon: it keeps no process from ending.
    """
    stop = threading.Event()
    ended: list[str | NotSentError] = []

    def run() -> None:
        try:
            ended.append(send(stop))
        except NotSentError as error:
            ended.append(error)
        except Exception as error:
            ended.append(NotSentError(f"an unforeseen error ({type(error).__name__})"))

    thread = threading.Thread(target=run, name="alert", daemon=True)
    thread.start()
    thread.join(_ATTEMPT_SECONDS)
    stop.set()
    if not ended:
        raise NotSentError(f"no answer within {_ATTEMPT_SECONDS:g} s", is_passing=True)
    if isinstance(ended[0], NotSentError):
        raise ended[0]
    return ended[0]


def _retried(send: Callable[[], str], stop: threading.Event) -> str:
    for attempt in range(1, _TRIES + 1):
        try:
            return send()
        except NotSentError as error:
            if not error.is_passing or attempt == _TRIES or stop.wait(_PAUSE_SECONDS):
                raise
    raise AssertionError("the loop returns or raises")


def _request(method: str, address: str, message: Message | None) -> str:
    with requests.Session() as session:
        found = session.merge_environment_settings(address, {}, None, None, None)
        # Not the rest of the environment: a .netrc would add a password.
        session.trust_env = False
        try:
            with session.request(
                method,
                address,
                json=message.json if message else None,
                headers={"User-Agent": "cdr-assets"},
                timeout=_WAIT_SECONDS,
                allow_redirects=False,
                stream=True,
                # What is near is not behind a proxy, which would see the address.
                proxies=found["proxies"] if address.lower().startswith("https:") else {},
                verify=True if found["verify"] is None else found["verify"],
            ) as response:
                status = response.status_code
        except requests.exceptions.SSLError:
            reason, is_passing = "its certificate is not trusted, or it speaks no TLS", False
        except requests.exceptions.ProxyError:
            reason, is_passing = "the proxy of the environment (HTTPS_PROXY) let nothing through", True
        except requests.exceptions.Timeout:
            reason, is_passing = f"no answer within {_WAIT_SECONDS:g} s", True
        except (requests.RequestException, OSError, ValueError) as error:
            reason, is_passing = f"no connection, or it broke ({type(error).__name__})", True
        else:
            if 200 <= status < 300:
                return f"HTTP {status}"
            if 300 <= status < 400:
                raise NotSentError(f"HTTP {status}, a redirect, which is not followed: write the final address")
            raise NotSentError(f"HTTP {status}", is_passing=status in (408, 425, 429) or status >= 500)
    # Not within `except`: as its context, the library's error would keep the address.
    raise NotSentError(reason, is_passing=is_passing)


def _mail(settings: Settings, message: Message) -> str:
    assert settings.cdr_smtp_url
    url = urlsplit(settings.cdr_smtp_url.get_secret_value())
    user, password = unquote(url.username or ""), unquote(url.password or "")
    to = settings.mail_to
    sender = parse_qs(url.query).get("from", [user if "@" in user else to[0]])[0]
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, ", ".join(to), message.subject
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain=sender.rpartition("@")[2])
    # Keeps holiday replies away.
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text)
    host = url.hostname or ""
    try:
        server = _connected(url.scheme, host, url.port, has_password=bool(password))
        try:
            if password:
                server.login(user, password)
            refused = server.send_message(mail, from_addr=sender, to_addrs=to)
            # The mail is accepted: however the server says goodbye, it must not be sent again.
            with suppress(smtplib.SMTPException, OSError):
                server.quit()
        finally:
            server.close()
    except smtplib.SMTPAuthenticationError as error:
        reason, is_passing = f"the mail server refuses the user or the password ({error.smtp_code})", False
    except smtplib.SMTPRecipientsRefused as error:
        codes = sorted({code for code, _ in error.recipients.values()})
        reason, is_passing = f"the mail server refuses every address ({', '.join(map(str, codes))})", min(codes) < 500
    except smtplib.SMTPResponseException as error:
        reason, is_passing = f"the mail server answers {error.smtp_code}", error.smtp_code < 500
    except smtplib.SMTPNotSupportedError:
        reason, is_passing = (
            "the mail server offers no TLS or no login; write smtps://, or leave the password out",
            False,
        )
    except ssl.SSLError:
        reason, is_passing = "the mail server's certificate is not trusted, or it speaks no TLS", False
    except TimeoutError:
        reason, is_passing = f"the mail server did not answer within {_WAIT_SECONDS:g} s", True
    except (smtplib.SMTPException, OSError, ValueError) as error:
        reason, is_passing = f"no connection to the mail server, or it broke ({type(error).__name__})", True
    else:
        return f"accepted for {len(to) - len(refused)} of {len(to)} addresses" if refused else "accepted"
    raise NotSentError(reason, is_passing=is_passing)


def _connected(scheme: str, host: str, port: int | None, *, has_password: bool) -> smtplib.SMTP:
    """A connection to the mail server, with TLS where it can be had, and always where a password follows."""
    # By default, smtplib asks a name server for this machine's own name, which may take half a minute.
    me = socket.gethostname()
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port or 465, me, timeout=_WAIT_SECONDS, context=ssl.create_default_context())
    server = smtplib.SMTP(host, port or (587 if has_password else 25), me, timeout=_WAIT_SECONDS)
    try:
        server.ehlo()
        is_near = host in _LOOPBACK
        if server.has_extn("starttls") or (has_password and not is_near):
            # Without a password, as mail servers do among themselves: a certificate that nobody checks is better than
            # none, and a relay in the company's network often has its own.
            context = ssl.create_default_context()
            if not has_password:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            server.starttls(context=context)
            server.ehlo()
    except BaseException:
        server.close()
        raise
    return server
