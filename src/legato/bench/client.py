"""A streaming client for OpenAI-compatible endpoints. Every request ends in an `Outcome`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from legato.bench.answer import Answer
from legato.bench.endpoint import Endpoint, Message
from legato.bench.exchange import Address, Connection, Exchange
from legato.bench.loop_connection import LoopConnection
from legato.bench.outcome import FailureKind, Outcome, RequestFailedError
from legato.bench.sse import EventSplitter
from legato.bench.stamped_connection import HAVE_RECEIVER, Receiving
from legato.clock import RealClock
from legato.metrics.timeline import Timeline

TIMEOUT_S = 120.0
MAX_ERROR_BODY = 300


class Client:
    """Asks one endpoint in one event loop; connections are kept and used again.

    Args:
        endpoint: where and how to ask.
        timeout_s: a request without a complete answer after this long has failed.
        needs_done: an answer without [DONE] has failed, even with a finish reason.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        timeout_s: float = TIMEOUT_S,
        needs_done: bool = True,
    ) -> None:
        self.endpoint = endpoint
        self.clock = RealClock()
        self.tokens = 0
        self._address = Address.of(endpoint.url)
        self._receiving: Receiving | None = None
        self._timeout_s = timeout_s
        self._needs_done = needs_done
        self._idle: list[Connection] = []

    @property
    def stamped_by_kernel(self) -> bool:
        """Whether stamps stay right when this client wakes late."""
        return HAVE_RECEIVER and not self._address.encrypted

    async def ask(
        self,
        messages: Sequence[Message],
        max_tokens: int,
        *,
        arrival_ns: int | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Outcome:
        """Ask, and wait for the whole answer or its failure.

        Args:
            messages: the conversation.
            max_tokens: most tokens of the answer.
            arrival_ns: when the request was due; now, by default.
            on_text: hears each piece of text as it comes.
        """
        request = self.endpoint.request(messages, max_tokens)
        sent_ns = self.clock.now_ns()
        outcome = Outcome(Timeline(sent_ns if arrival_ns is None else arrival_ns), sent_ns)
        answer = Answer(on_text)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._exchange(request, answer)
            answer.check(needs_done=self._needs_done)
        except RequestFailedError as error:
            outcome.failure, outcome.detail = error.kind, str(error)
        except TimeoutError:
            outcome.failure = FailureKind.DEADLINE
            outcome.detail = f"no complete answer within {self._timeout_s:g} s"
        except asyncio.CancelledError:
            outcome.failure, outcome.detail = FailureKind.UNFINISHED, "the run was interrupted"
        outcome.ended_ns = self.clock.now_ns()
        answer.settle(outcome)
        self.tokens += outcome.timeline.output_tokens
        return outcome

    def close(self) -> None:
        """Drop the connections."""
        while self._idle:
            self._idle.pop().close()
        if self._receiving is not None:
            self._receiving.close()
            self._receiving = None

    async def _exchange(self, request: bytes, answer: Answer) -> None:
        """Over a kept connection if there is one; the server may have closed it meanwhile."""
        connection = self._kept()
        if connection is not None:
            reader = _Reader(answer)
            try:
                await self._exchange_over(connection, request, reader)
            except RequestFailedError as error:
                if error.kind is not FailureKind.RESET or reader.exchange.answered:
                    raise
            else:
                return
        await self._exchange_over(await self._open(), request, _Reader(answer))

    async def _open(self) -> Connection:
        if not self.stamped_by_kernel:
            return await LoopConnection.open(self._address, self.clock)
        self._receiving = self._receiving or Receiving(self.clock)
        return await self._receiving.open(self._address)

    def _kept(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _exchange_over(self, connection: Connection, request: bytes, reader: _Reader) -> None:
        try:
            await connection.run(reader.exchange, request)
        except RequestFailedError as error:
            if not (reader.done and error.kind is FailureKind.RESET):
                raise
        except asyncio.CancelledError:
            if not reader.done:  # else only the end of the response is missing
                raise
        finally:
            reader.note_writing()
            if reader.exchange.response.reusable and connection.is_open:
                self._idle.append(connection)
            else:
                connection.close()
        reader.check_status()


class _Reader:
    """Takes the body of one response: events of a 200, the words of any other."""

    def __init__(self, answer: Answer) -> None:
        self.exchange = Exchange(self._take, self._take_chunks, at_once=answer.on_text is not None)
        self._answer = answer
        self._events = EventSplitter()
        self._refusal = b""

    @property
    def done(self) -> bool:
        """Whether [DONE] is here."""
        return self._answer.done

    def note_writing(self) -> None:
        self._answer.written_ns = self.exchange.written_ns

    def check_status(self) -> None:
        status = self.exchange.response.status
        if status != 200:
            words = self._refusal.decode(errors="replace")
            raise RequestFailedError(_kind_of(status), f"status {status}: {words}")

    def _take_chunks(
        self, data: bytes, ends: list[int], stamps_ns: Sequence[int], first: int
    ) -> int:
        at_rest = self._events.at_rest
        return self._answer.take_chunks(data, ends, stamps_ns, first) if at_rest else 0

    def _take(self, body: bytes, now_ns: int) -> None:
        if self.exchange.response.status != 200:
            self._refusal = (self._refusal + body)[:MAX_ERROR_BODY]
            return
        for event in self._events.feed(body):
            self._answer.take(event, now_ns)


def _kind_of(status: int) -> FailureKind:
    if status in (429, 503):
        return FailureKind.OVERLOADED
    return FailureKind.REFUSED if 400 <= status < 500 else FailureKind.SERVER_ERROR
