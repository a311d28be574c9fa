"""How long RabbitMQ has been silent: when to ask it a question, and when to give it up. Pure: methods take `now`.

Heartbeats show that one direction of a connection works. Only a question that must be answered shows both.
"""

from typing import Literal


class Silence:
    """Judges one connection after another; `now` is when the first one opened. All times are in seconds.

    The broker is asked after it has sent no answer for `ask_after`, and has `answer_within` for the reply. Each time in
    a row that it does not reply doubles that limit, so that a large message over a slow link gets through.
    """

    def __init__(self, now: float, *, ask_after: float, answer_within: float) -> None:
        self._ask_after = ask_after
        self._answer_within = answer_within
        self.heard_at = now
        """When the broker last answered anything; its reader sets this."""
        self._since = now
        self._asked = False
        self._factor = 1

    def restart(self, now: float) -> None:
        """Start over: the connection is new, or the broker does not read it."""
        self.heard_at = self._since = now
        self._asked = False

    def judge(self, now: float) -> Literal["wait", "ask", "give up"]:
        """Return what to do now; the caller asks at "ask", and ends the connection at "give up"."""
        if self.heard_at > self._since:
            self._asked, self._factor = False, 1
        if self._asked:
            if now - self._since <= self._answer_within * self._factor:
                return "wait"
            self._factor *= 2
            return "give up"
        if now - self.heard_at <= self._ask_after:
            return "wait"
        self._asked, self._since = True, now
        return "ask"
