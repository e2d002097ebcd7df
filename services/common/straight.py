"""One request and its answer with no ASGI between them: a call when all of it is there, and one write.

What uvicorn makes of a request (an application's task as soon as there is a head, messages to and from it, an answer in
two of them) serves every application. For the one endpoint that takes nearly all the load it cost as much as the order.
"""

from typing import TYPE_CHECKING, Any

from litestar import Response
from litestar.types import HTTPScope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from services.common.shortcut import Shortcut

if TYPE_CHECKING:
    from services.common.edge import Edge
    from services.common.protocol import Protocol


class Straight:
    """What uvicorn's protocol takes for its `RequestResponseCycle`: it fills in the body, and says when some has come.

    It begins once all of the body is there; one that never comes is never begun.
    """

    __slots__ = (
        "_begun",
        "_edge",
        "_protocol",
        "_scope",
        "_shortcut",
        "body",
        "disconnected",
        "keep_alive",
        "more_body",
        "response_complete",
    )

    def __init__(self, protocol: "Protocol", edge: "Edge", shortcut: Shortcut, scope: HTTPScope) -> None:
        self._protocol, self._edge, self._shortcut, self._scope = protocol, edge, shortcut, scope
        self._begun = False
        self.body = b""
        self.more_body = True
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = protocol.parser.should_keep_alive()

    @property
    def message_event(self) -> "Straight":
        """What uvicorn sets when something has come: a piece of the body, its end, or the end of the connection."""
        return self

    def set(self) -> None:
        if self._begun or self.more_body or self.disconnected:
            return
        self._begun = True
        self._protocol.begin(self)

    async def run_asgi(self, _: Any) -> None:
        """Answer: uvicorn makes a task of this."""
        protocol = self._protocol
        try:
            answer, extra = await self._edge.answer(self._shortcut, self._scope, self.body)
            if protocol.flow.write_paused and not self.disconnected:
                await protocol.flow.drain()
            sent = self._as_sent(answer, extra)
        except BaseException:  # answers are made of all exceptions: this is the end of the process, or a bug of ours
            protocol.transport.close()
            raise
        if self.disconnected:
            return
        self.response_complete = True
        protocol.transport.write(sent)
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()
        del self._protocol, self._scope  # which know us: so a connection that ends is gone at once, not once collected

    def _as_sent(self, answer: Response[bytes], extra: bytes) -> bytes:
        said = {name.lower(): value for name, value in answer.headers.items()}
        if not self.keep_alive:
            said["connection"] = "close"
        said["content-type"] = str(answer.media_type)
        said["content-length"] = str(len(answer.content))
        head = "".join(f"{name}: {value}\r\n" for name, value in said.items())
        if head.count("\n") != len(said) or head.count("\r") != len(said):
            raise ValueError(f"a header with a line break: {said}")
        dated = b"".join(b"%s: %s\r\n" % pair for pair in self._protocol.server_state.default_headers)
        return b"".join((STATUS_LINE[answer.status_code or 200], dated, head.encode("latin-1"), extra, answer.content))
