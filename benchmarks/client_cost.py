"""What the measuring client costs a token, beside a bare loop in C on the same stream.

    python benchmarks/client_cost.py [--streams 20 50] [--rounds 3] [--tokens 100] [--gap-ms 20]

A process of its own writes answers of --tokens chunks of about 280 bytes, one every --gap-ms. The
client's share is everything: sending, receiving, parsing, stamping. The loop (receive_floor.c) only
waits and receives, with and without the pause of a millisecond that the client makes with many
streams. User and system time; medians over rounds, in turns. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from legato.bench.arrivals import Users
from legato.bench.endpoint import Endpoint
from legato.bench.lengths import Fixed
from legato.bench.objectives import Objectives
from legato.bench.run import Limits
from legato.bench.serve import Measurement, drive
from legato.bench.workload import Workload

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FRAME = {
    "id": "chatcmpl-0123456789abcdef0123456789abcdef",
    "object": "chat.completion.chunk",
    "created": 1700000000,
    "model": "smollm2-135m-instruct",
    "system_fingerprint": "legato-0.1",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--streams", type=int, nargs="+", default=[20, 50])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--gap-ms", type=float, default=20.0)
    parser.add_argument("--write", action="store_true", help="be the process that writes")
    arguments = parser.parse_args()
    if arguments.write:
        asyncio.run(write_forever(arguments.tokens, arguments.gap_ms / 1000))
    else:
        measure(arguments)


def measure(arguments: argparse.Namespace) -> None:
    """A line for each number of streams."""
    command = [sys.executable, __file__, "--write", "--tokens", str(arguments.tokens)]
    command += ["--gap-ms", str(arguments.gap_ms)]
    results = []
    with tempfile.TemporaryDirectory() as folder:
        floor = Path(folder) / "receive_floor"
        source = Path(__file__).parent / "receive_floor.c"
        subprocess.run(["cc", "-O2", str(source), "-o", str(floor)], check=True)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            port = int(writer.stdout.readline())
            for streams in arguments.streams:
                results.append(compare(floor, port, streams, arguments.rounds))
                print(results[-1], flush=True)
            writer.terminate()
    print(json.dumps(results))


def compare(floor: Path, port: int, streams: int, rounds: int) -> dict[str, float]:
    """Microseconds of CPU a token, and the ratio of the client to the loop."""
    client, plain, pausing = [], [], []
    for _ in range(rounds):
        client.append(client_us(port, streams))
        plain.append(floor_us(floor, port, streams, 0))
        pausing.append(floor_us(floor, port, streams, 1))
    found = {"client_us": median(client), "loop_us": median(plain), "pausing_us": median(pausing)}
    return {
        "streams": streams,
        **found,
        "client_to_loop": found["client_us"] / found["loop_us"],
        "client_to_pausing": found["client_us"] / found["pausing_us"],
    }


def client_us(port: int, streams: int) -> float:
    """Two answers on each of so many connections."""
    workload = Workload(arrivals=Users(streams), prompt_words=Fixed(200), output_tokens=Fixed(100))
    measurement = Measurement(Objectives(), Limits(conversations=2 * streams))
    endpoint = Endpoint(url=f"http://127.0.0.1:{port}")
    (run,) = asyncio.run(drive([endpoint], workload, 0.0, measurement))
    assert all(outcome.succeeded for outcome in run.outcomes)
    assert run.cost is not None
    assert run.cost.cpu_us_per_token is not None
    return run.cost.cpu_us_per_token


def floor_us(floor: Path, port: int, streams: int, pause_ms: float) -> float:
    """One answer on each of so many connections."""
    command = [str(floor), str(port), str(streams), str(pause_ms)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


async def write_forever(tokens: int, gap_s: float) -> None:
    """Answer every POST with `tokens` chunks."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
                writer.write(HEAD + chunk({"role": "assistant", "content": ""}))
                for number in range(tokens):
                    await asyncio.sleep(gap_s)
                    writer.write(chunk({"content": f" word{number % 100}"}))
                writer.write(chunk({}, "length") + usage(tokens) + b"e\r\ndata: [DONE]\n\n\r\n")
                writer.write(b"0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def chunk(delta: dict[str, str], reason: str | None = None) -> bytes:
    """One event as one HTTP chunk."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    return http_chunk({**FRAME, "choices": [choice]})


def usage(tokens: int) -> bytes:
    """The event that counts the tokens."""
    counts = {"prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": tokens + 5}
    return http_chunk({**FRAME, "choices": [], "usage": counts})


def http_chunk(document: dict[str, object]) -> bytes:
    """`document` as an event in a chunk."""
    event = b"data: " + json.dumps(document).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(event), event)


if __name__ == "__main__":
    main()
