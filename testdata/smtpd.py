"""SMTP server for tests: smtpd.py PORT MAILDIR CERTIFICATE KEY USER PASSWORD

Takes mail only over STARTTLS and after a sign-in, and keeps it in the Maildir. Prints "ready" when
it listens, then one JSON line for each message kept, with the texts as a mail program would show them.
"""

import asyncio
import email
import email.policy
import json
import mailbox
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

port, folder, certificate, key, user, password = sys.argv[1:]
inbox = mailbox.Maildir(folder, create=True)


def sign_in(server, session, envelope, mechanism, data):
    wanted = LoginPassword(user.encode(), password.encode())
    # handled=False lets the server answer 535 by itself
    return AuthResult(success=data == wanted, handled=False)


class Keeper:
    async def handle_DATA(self, server, session, envelope):
        key = inbox.add(envelope.content)
        message = email.message_from_bytes(inbox.get_bytes(key), policy=email.policy.default)
        bodies = [message.get_body([kind]) for kind in ("plain", "html")]
        taken = {
            "tls": session.ssl is not None,
            "signed_in": session.authenticated,
            "to": envelope.rcpt_tos,
            "subject": message["subject"],
            "texts": [body.get_content() for body in bodies if body],
        }
        print(json.dumps(taken), flush=True)
        return "250 2.0.0 kept"


tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
tls.load_cert_chain(certificate, key)
controller = Controller(
    Keeper(),
    hostname="127.0.0.1",
    port=int(port),
    tls_context=tls,
    require_starttls=True,
    authenticator=sign_in,
    auth_required=True,
    auth_require_tls=True,
    enable_SMTPUTF8=True,
)
controller.start()
print("ready", flush=True)
asyncio.new_event_loop().run_forever()
