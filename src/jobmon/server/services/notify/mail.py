"""E-mail by SMTP."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate

from jobmon.core.exceptions import ConfigError
from jobmon.server.services.notify.notice import DeliveryError, Notice

SECURITIES = ("starttls", "tls", "none")
TEXT_CHARACTERS = 20_000


class MailChannel:
    """Sends mail through one SMTP server.

    Args:
        host, port: the server.
        security: ``starttls``, ``tls`` or ``none``.
        sender: address of the sender.
        user, password: login; an empty user: none.
        timeout_seconds: for each step of the conversation.
        context: TLS settings; by default those of the machine, with verification.

    Raises:
        ConfigError: the settings do not go together.
    """

    def __init__(
        self,
        host: str,
        port: int,
        security: str,
        sender: str,
        user: str,
        password: str,
        timeout_seconds: float,
        context: ssl.SSLContext | None = None,
    ) -> None:
        if security not in SECURITIES:
            raise ConfigError(f"notify.mail_security is '{security}'; it must be {', '.join(SECURITIES)}.")
        if user and security == "none":
            raise ConfigError(
                "notify.mail_user is set and notify.mail_security is none: the password would be sent in the clear. "
                "Set notify.mail_security to starttls or tls."
            )
        self.host, self.port, self.security, self.sender = host, port, security, sender
        self._user, self._password, self.timeout_seconds = user, password, timeout_seconds
        self._context = context

    def send(self, notice: Notice) -> None:
        """Send one message."""
        message = self.message(notice)
        try:
            with self._connection() as server:
                if self.security == "starttls":
                    server.starttls(context=self._tls())
                if self._user:
                    server.login(self._user, self._password)
                server.send_message(message)
        except smtplib.SMTPResponseException as error:
            is_final = 500 <= error.smtp_code < 600
            raise DeliveryError(
                f"The SMTP server {self.host} refused the message: code {error.smtp_code}.", is_final=is_final
            ) from None
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            is_final = all(500 <= code < 600 for code in codes)
            raise DeliveryError(
                f"The SMTP server {self.host} refused the recipient: code {', '.join(map(str, codes))}.",
                is_final=is_final,
            ) from None
        except (OSError, smtplib.SMTPException, ValueError) as error:
            # Of what a server says anything may be in the text; its kind is enough.
            raise DeliveryError(
                f"No mail could be sent through {self.host}:{self.port} ({type(error).__name__})."
            ) from None

    def _connection(self) -> smtplib.SMTP:
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=self.timeout_seconds, context=self._tls())
        return smtplib.SMTP(self.host, self.port, timeout=self.timeout_seconds)

    def _tls(self) -> ssl.SSLContext:
        return self._context or ssl.create_default_context()

    def message(self, notice: Notice) -> EmailMessage:
        """The notice as a mail; every try of it has the same Message-ID."""
        message = EmailMessage()
        message["Subject"] = " ".join(notice.subject.split())[:200]
        message["From"] = self.sender
        message["To"] = notice.target.address
        message["Date"] = formatdate()
        message["Message-ID"] = f"<{notice.delivery_id}@{self.sender.rpartition('@')[2] or 'jobmon'}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(notice.text[:TEXT_CHARACTERS])
        return message
