"""What is learnt from: messages in conversations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[str, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that an assistant's turn makes. `arguments` is a JSON object as text, as OpenAI writes it."""

    name: str
    arguments: str = "{}"
    id: str = ""

    def to_json(self) -> dict[str, Any]:
        """In OpenAI's shape."""
        call = {"type": "function", "function": {"name": self.name, "arguments": self.arguments}}
        return {"id": self.id, **call} if self.id else call

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ToolCall:
        function = data["function"]
        return cls(function["name"], function["arguments"], data.get("id", ""))


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `content` is kept exactly as it stands in the file.

    An assistant's turn with `trained` false is read by the model but not learnt: OpenAI's `weight: 0`. `reasoning` is
    what it thought before it answered, `tool_calls` what it called; a tool's result names its tool and the call.
    """

    role: Role
    content: str
    trained: bool = True
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    name: str = ""
    tool_call_id: str = ""

    def to_json(self) -> dict[str, Any]:
        """In OpenAI's shape, without what is empty.

        >>> Message("assistant", "a", trained=False).to_json()
        {'role': 'assistant', 'content': 'a', 'weight': 0}
        """
        said: dict[str, Any] = {"role": self.role, "content": self.content}
        if not self.trained:
            said["weight"] = 0
        if self.reasoning:
            said["reasoning_content"] = self.reasoning
        if self.tool_calls:
            said["tool_calls"] = [call.to_json() for call in self.tool_calls]
        for key, value in (("name", self.name), ("tool_call_id", self.tool_call_id)):
            if value:
                said[key] = value
        return said

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Message:
        return cls(
            data["role"],
            data["content"],
            data.get("weight") != 0,
            data.get("reasoning_content", ""),
            tuple(ToolCall.from_json(call) for call in data.get("tool_calls", ())),
            data.get("name", ""),
            data.get("tool_call_id", ""),
        )


@dataclass(frozen=True, slots=True)
class Conversation:
    """The messages of one row; `row` is its 1-based number in the file it came from.

    `tools` are the functions that the assistant may call, each as JSON text. `source` names the set that the row was
    mixed in from; it is empty for the data itself. A `plain` row is no exchange but a text that is learnt as it stands,
    without a chat template: its one message is the assistant's.
    """

    messages: tuple[Message, ...]
    row: int = 0
    tools: tuple[str, ...] = ()
    source: str = ""
    plain: bool = False

    @property
    def system(self) -> str:
        return "\n".join([m.content for m in self.messages if m.role == "system"])

    @property
    def prompt(self) -> str:
        """All that the user says, in order."""
        return "\n".join([m.content for m in self.messages if m.role == "user"])

    @property
    def response(self) -> str:
        """The last assistant message, or an empty string."""
        for message in reversed(self.messages):
            if message.role == "assistant":
                return message.content
        return ""

    @property
    def responses(self) -> tuple[str, ...]:
        return tuple([m.content for m in self.messages if m.role == "assistant"])

    @property
    def learnable(self) -> bool:
        """Whether a user says something and the assistant answers or calls a tool, or a plain text is not blank."""
        return (self.plain or bool(self.prompt.strip())) and any(
            message.content.strip() or message.tool_calls
            for message in self.messages
            if message.role == "assistant"
        )

    def before_response(self) -> tuple[Message, ...]:
        """The messages up to, and without, the last assistant message: what a model is asked."""
        for index in range(len(self.messages) - 1, -1, -1):
            if self.messages[index].role == "assistant":
                return self.messages[:index]
        return self.messages

    def with_contents(self, contents: list[str]) -> Conversation:
        """The same turns with other contents, one a message."""
        pairs = zip(self.messages, contents, strict=True)
        return replace(self, messages=tuple(replace(message, content=content) for message, content in pairs))

    def to_json(self) -> dict[str, Any]:
        """In OpenAI's shape; a plain text under its own name.

        >>> Conversation((Message("assistant", "Once"),), plain=True).to_json()
        {'text': 'Once'}
        """
        if self.plain:
            return {"text": self.response}
        said = {"messages": [message.to_json() for message in self.messages]}
        return {**said, "tools": [json.loads(tool) for tool in self.tools]} if self.tools else said

    @classmethod
    def from_json(cls, data: Mapping[str, Any], row: int = 0, source: str = "") -> Conversation:
        if "messages" not in data:
            return cls((Message("assistant", data["text"]),), row, (), source, plain=True)
        messages = tuple(Message.from_json(message) for message in data["messages"])
        tools = tuple(json.dumps(tool, ensure_ascii=False) for tool in data.get("tools", ()))
        return cls(messages, row, tools, source)
