"""Slack: one message an incident, which changes with it; what calls for attention again is said in its thread."""

import re
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from jobs.alerts.plan import Action
from jobs.alerts.sink_config import SlackSink
from jobs.alerts.sinks import Handle, SinkFailedError, retry_after
from jobs.alerts.wording import Message
from jobs.common.secrets import secret

_SIGNS = {"CRITICAL": ":red_circle:", "HIGH": ":large_orange_circle:", "MEDIUM": ":large_yellow_circle:"}
_SECTION, _HEADER = 3000, 150
#: Ids come from outside: one that looks like an address is no link, and fetches no picture.
_PLAIN: dict[str, Any] = {"unfurl_links": False, "unfurl_media": False}
#: A message that somebody deleted, that is too old to be changed, or of another channel than now: another one is sent.
_GONE = (
    "message_not_found",
    "edit_window_closed",
    "cant_update_message",
    "channel_not_found",
    "not_in_channel",
    "is_archived",
)


class Slack:
    """A channel."""

    def __init__(self, name: str, config: SlackSink) -> None:
        self._name, self._config = name, config

    def close(self) -> None:
        """Nothing is kept open."""

    def send(self, message: Message, handle: Handle) -> Handle:
        """Post, or change what was posted."""
        client = WebClient(
            secret(self._config.token, f"sink {self._name}"),
            base_url=self._config.url,
            timeout=self._config.timeout,
            retry_handlers=[],
        )
        try:
            return self._send(client, message, handle)
        except SlackApiError as error:
            said = error.response
            headers = {str(key).lower(): value for key, value in (said.headers or {}).items()}
            wait = retry_after(headers.get("retry-after"))
            raise SinkFailedError(f"it answered {said.status_code} {said.get('error', '')}".strip(), wait) from error
        except (SlackClientError, OSError, ValueError) as error:
            raise SinkFailedError(f"it does not answer ({type(error).__name__})") from error

    def _send(self, client: WebClient, message: Message, handle: Handle) -> Handle:
        content: dict[str, Any] = {"text": escape(message.title), "blocks": blocks(message)}
        if handle and message.action is not Action.TRIGGER:
            try:
                client.chat_update(channel=handle["channel"], ts=handle["ts"], **content)
            except SlackApiError as error:
                if error.response.get("error") not in _GONE:
                    raise
            else:
                if message.action is Action.REMIND:
                    client.chat_postMessage(
                        channel=handle["channel"],
                        text=f"Still: {escape(message.title)}",
                        thread_ts=handle["ts"],
                        reply_broadcast=True,
                        **_PLAIN,
                    )
                return handle
        answer = client.chat_postMessage(channel=self._config.channel, **_PLAIN, **content)
        return {"channel": str(answer["channel"]), "ts": str(answer["ts"])}


def blocks(message: Message) -> list[dict[str, Any]]:
    """The message in Slack's blocks."""
    is_over = message.action is Action.RESOLVE
    sign = ":white_check_mark:" if is_over else _SIGNS.get(message.severity, ":large_blue_circle:")
    text = _cut(escape("\n".join(message.lines)), _SECTION)
    found: list[dict[str, Any]] = [
        {
            "type": "header",
            "text": {"type": "plain_text", "text": _cut(f"{sign} {message.title}", _HEADER), "emoji": True},
        },
        {"type": "section", "text": {"type": "mrkdwn", "text": text or "–", "verbatim": True}},
    ]
    if message.link:
        button = {"type": "button", "text": {"type": "plain_text", "text": "Look at it"}, "url": message.link}
        found.append({"type": "actions", "elements": [button]})
    return found


def escape(text: str) -> str:
    """Ids come from outside; what would mention somebody or make a link is shown as it is."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, most: int) -> str:
    """At most so many characters; what is cut off is seen to be, and no escaped letter is cut in two."""
    if len(text) <= most:
        return text
    return re.sub(r"&[a-z]{0,3}\Z", "", text[: most - 1]) + "…"
