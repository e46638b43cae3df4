"""A topology, with the tasks and events of its app, as AsyncAPI 3.0 with AMQP bindings 0.3.0.

Exchanges and queues are channels, publishing and consuming are operations, and what travels has its JSON Schema from
the functions' annotations. What AsyncAPI has no word for stands under ``x-brokerkit``.
https://www.asyncapi.com/docs/reference/specification/v3.0.0
https://github.com/asyncapi/bindings/tree/master/amqp
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

from brokerkit.app import App
from brokerkit.message import MSGPACK
from brokerkit.operations.files.writing import plain
from brokerkit.topology import Exchange, Group, Log, Queue, Topology, dead_letter_owners, implied

BINDING = "0.3.0"
_SCHEMAS = "#/components/schemas/"
Object = dict[str, Any]


def as_asyncapi(topology: Topology, app: App | None = None, *, version: str = "1.0.0", url: str = "") -> Object:
    """The document.

    Args:
        topology: Valid; the app's own, if there is one.
        app: Its tasks and subscribers become messages and operations. Default none.
        version: The version of what is described.
        url: The broker's; its host is listed, its password never. Default none.
    """
    return _Document(implied(topology), app).made(version, url)


class _Document:
    def __init__(self, topology: Topology, app: App | None) -> None:
        self._topology, self._app = topology, app
        self._said = plain(topology)
        self._ids: dict[str, str] = {}
        self._messages: dict[str, Object] = {}
        self._annotations: dict[str, Any] = {}
        self._schemas: dict[str, Object] = {}
        self._operations: dict[str, Object] = {}
        self._channels: dict[str, Object] = {}

    def made(self, version: str, url: str) -> Object:
        for exchange in self._topology.exchanges:
            self._exchange(exchange)
        graves = dead_letter_owners(self._topology)
        for queue in self._topology.queues:
            self._queue(queue, grave=queue.name in graves)
        logs = {log.name: log for log in self._topology.logs}
        for group in self._topology.groups:
            self._group(group, logs[group.log])
        if self._app is not None:
            self._tasks(self._app)
            self._subscribers(self._app)
            self._payloads()
        content = self._app.settings.content_type if self._app is not None else MSGPACK
        document: Object = {
            "asyncapi": "3.0.0",
            "info": {"title": self._topology.name, "version": version},
            "defaultContentType": content,
        }
        if servers := _servers(url):
            document["servers"] = servers
        components = {"messages": self._messages, "schemas": self._schemas}
        return document | {
            "channels": self._channels,
            "operations": self._operations,
            "components": {name: held for name, held in components.items() if held},
        }

    def _id(self, text: str) -> str:
        """A key that AsyncAPI takes, of its own for each text."""
        if text not in self._ids:
            wanted = found = re.sub(r"[^A-Za-z0-9_.-]", "_", text)
            number = 2
            while found in self._ids.values():
                found, number = f"{wanted}_{number}", number + 1
            self._ids[text] = found
        return self._ids[text]

    def _exchange(self, exchange: Exchange) -> None:
        key = self._id(f"exchange.{exchange.name}")
        amqp = {"name": exchange.name, "type": exchange.type, "durable": exchange.durable, "autoDelete": False}
        self._channels[key] = {
            "address": None,  # the routing key, which each publisher chooses
            "title": f"Exchange {exchange.name}",
            "messages": {},
            "bindings": {"amqp": {"is": "routingKey", "exchange": amqp, "bindingVersion": BINDING}},
            "x-brokerkit": {"exchange": self._said["exchanges"][exchange.name]},
        }
        self._operation(f"publish.{exchange.name}", "send", key, {"deliveryMode": 2, "mandatory": True})

    def _queue(self, queue: Queue, *, grave: bool) -> None:
        key = self._id(f"queue.{queue.name}")
        title = "Dead-letter queue" if grave else "Queue"
        self._place(key, queue.name, f"{title} {queue.name}", {"queue": self._said["queues"][queue.name]})
        if not grave:
            self._operation(f"consume.{queue.name}", "receive", key, {"ack": True})

    def _group(self, group: Group, log: Log) -> None:
        key = self._id(f"group.{group.key}")
        said = {"group": self._said["groups"][group.key], "log": self._said["logs"][log.name]}
        self._place(key, group.key, f"Group {group.name} of log {log.name}", said)
        self._operation(f"consume.{group.key}", "receive", key, {"ack": True})

    def _place(self, key: str, name: str, title: str, said: Object) -> None:
        amqp = {"name": name, "durable": True, "exclusive": False, "autoDelete": False}
        self._channels[key] = {
            "address": name,
            "title": title,
            "messages": {},
            "bindings": {"amqp": {"is": "queue", "queue": amqp, "bindingVersion": BINDING}},
            "x-brokerkit": said,
        }

    def _operation(self, name: str, action: str, channel: str, amqp: Object) -> None:
        self._operations[self._id(name)] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{channel}"},
            "bindings": {"amqp": {**amqp, "bindingVersion": BINDING}},
        }

    def _tasks(self, app: App) -> None:
        for task in app.tasks.values():
            channel, name = self._id(f"queue.{task.queue.name}"), f"send.{task.name}"
            title = f"{task.name}: the arguments of a task, by name"
            key = self._message(channel, task.name, title, task.signature.arguments_type())
            self._operation(name, "send", channel, {"deliveryMode": 2, "mandatory": True})
            self._operations[self._id(name)]["messages"] = [{"$ref": f"#/channels/{channel}/messages/{key}"}]

    def _subscribers(self, app: App) -> None:
        for subscriber in app.subscribers:
            kind = "queue" if isinstance(subscriber.source, Queue) else "group"
            channel = self._id(f"{kind}.{subscriber.source_key}")
            annotation = subscriber.signature.annotation
            name = subscriber.takes or getattr(annotation, "__name__", "") or subscriber.source_key
            self._message(channel, name, f"The event {name}", annotation)

    def _message(self, channel: str, name: str, title: str, annotation: Any) -> str:
        """Add a message to a channel; its key. Two of one name that differ have a key each."""
        key = self._id(f"message.{name}")
        if self._annotations.setdefault(key, annotation) is not annotation:
            key = self._id(f"message.{channel}.{name}")
            self._annotations[key] = annotation
        self._messages[key] = {"name": name, "title": title, "payload": {}}
        self._channels[channel]["messages"][key] = {"$ref": f"#/components/messages/{key}"}
        return key

    def _payloads(self) -> None:
        """What each message holds: of pydantic's models their own schema, and any value where there is none."""
        plain = {key: annotation for key, annotation in self._annotations.items() if _has_schema(annotation)}
        # All at once, so that types of one name from several modules stay apart.
        found, self._schemas = msgspec.json.schema_components(plain.values(), ref_template=f"{_SCHEMAS}{{name}}")
        for key, schema in zip(plain, found, strict=True):
            self._messages[key]["payload"] = schema
        for key, annotation in self._annotations.items():
            if (own := getattr(annotation, "model_json_schema", None)) is not None:
                schema = own(ref_template=f"{_SCHEMAS}{{model}}")
                self._schemas |= schema.pop("$defs", {})
                self._messages[key]["payload"] = schema


def _has_schema(annotation: Any) -> bool:
    try:
        msgspec.json.schema_components([annotation])
    except TypeError:
        return False
    return not hasattr(annotation, "model_json_schema")


def _servers(url: str) -> Object:
    """The broker without the user and the password."""
    parts = urlsplit(url)
    if parts.scheme not in {"amqp", "amqps"}:
        return {}
    hosts = (parts.netloc.rpartition("@")[2] or "localhost").split(",")
    return {
        f"broker{number or ''}": {"host": host, "protocol": parts.scheme, "pathname": parts.path or "/"}
        for number, host in enumerate(hosts)
    }
