"""How a worker takes messages out of the broker: each is noted down as taken in the very step that takes it out of its queue.

Kombu's Redis transport pops a message (BRPOP), and notes it down when the worker's loop comes to read it. Whatever kills the
worker in between takes the message along: 4 of 400 with five workers killed. A job with a file in the inbox gets over that; one
of a plain Celery producer has only its message. Here a script of the broker's own does both.

What a worker that was killed had in hand, the next one to be ready puts back: see ``put_back``. Needs Redis 6.2 or Valkey.
"""

from __future__ import annotations

import json
from time import monotonic, sleep
from typing import Any

from kombu.transport.redis import Channel

from strongroom.routes import LONG_QUEUE, PRIORITIES, SHORT_QUEUE
from tasks.unreadable import OURS

WAIT_S = 0.1
"""How long a worker that found nothing waits for a message. One in its own queue, of normal priority, ends that at once."""

AT_MOST = 1000
"""How many messages ``put_back`` looks at: far more than any number of workers has in hand."""

_OWN = frozenset({SHORT_QUEUE, LONG_QUEUE})

# A message that has no tag is nobody's that we know: it is taken as kombu takes it. RPOP comes first, since a broker that is full
# lets a script go on that has begun to write, and none begin with what takes memory.
_TAKE = """
for at = 3, #KEYS do
  local message = redis.call('RPOP', KEYS[at])
  if message then
    local ok, said = pcall(cjson.decode, message)
    local about = ok and type(said) == 'table' and said.properties
    local tag = type(about) == 'table' and about.delivery_tag
    local way = type(about) == 'table' and about.delivery_info
    if type(tag) == 'string' and type(way) == 'table' then
      local exchange = type(way.exchange) == 'string' and way.exchange or ''
      local key = type(way.routing_key) == 'string' and way.routing_key or ''
      redis.call('ZADD', KEYS[2], redis.call('TIME')[1], tag)
      redis.call('HSET', KEYS[1], tag, '[' .. message .. ',' .. cjson.encode(exchange) .. ',' .. cjson.encode(key) .. ']')
    end
    return {KEYS[at], message}
  end
end
return false
"""

# Any below: kombu's stubs say little of its Redis transport.


class TakingChannel(Channel):
    """Kombu's channel with other methods that take a message and read it. What comes back looks like BRPOP's answer."""

    connection_errors: tuple[type[Exception], ...]
    ResponseError: type[Exception]
    _queue_cycle: Any  # this and the next are kombu's own, which its stubs leave out
    _q_for_pri: Any
    _idle = False
    _waits = False
    _begun = False
    _doubtful = False

    def basic_consume(self, queue: str, *arguments: Any, **options: Any) -> Any:
        """Begin to take messages; before the first of a worker's own queue, put back what others had in hand."""
        if queue in _OWN and not self._begun:
            self._begun = True
            put_back(self)
        return super().basic_consume(queue, *arguments, **options)

    def _brpop_start(self, timeout: float | None = None) -> None:  # noqa: ARG002  # kombu's signature
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        if self._doubtful:
            self._doubtful = False
            put_back(self)
        keys = [self._q_for_pri(queue, step) for step in self.priority_steps for queue in queues]
        commands: list[tuple[Any, ...]] = [("EVAL", _TAKE, 2 + len(keys), self.unacked_key, self.unacked_index_key, *keys)]
        if self._idle:
            # From the end of a queue to the same end: it waits until there is something, and moves nothing.
            own = self._q_for_pri(next((one for one in queues if one in _OWN), queues[0]), PRIORITIES["normal"])
            commands.insert(0, ("BLMOVE", own, own, "RIGHT", "RIGHT", WAIT_S))
        connection = self.client.connection
        self._in_poll, self._brpop_sent_at, self._waits = connection, monotonic(), self._idle
        # Without the client's PING before it: when that fails the client connects anew, and the poller knows nothing of it. It
        # asks a second time then, and one answer would be taken for the other's.
        connection.send_packed_command(connection.pack_commands(commands), check_health=False)

    def _brpop_read(self, **options: Any) -> Any:
        self._idle, waits = True, self._waits
        self._waits = False
        if waits:
            self._read_wait()
        kombus: Any = super()
        answer = kombus._brpop_read(**options)  # raises Empty when nothing was there
        self._idle = False
        return answer

    def _read_wait(self) -> None:
        try:
            self.client.parse_response(self.client.connection, "BLMOVE")
        except self.connection_errors:
            self.client.connection.disconnect()
            self._in_poll = None
            raise
        except self.ResponseError:
            # A broker that is full lets nobody wait so: we wait. The script's answer comes behind this one all the same.
            sleep(WAIT_S)

    def _on_connection_disconnect(self, connection: Any) -> None:
        """Remember that an answer was lost with its connection: it may have held a message, which is noted down as taken."""
        self._doubtful = self._doubtful or self._in_poll is connection
        kombus: Any = super()
        kombus._on_connection_disconnect(connection)


def put_back(channel: Any) -> int:
    """Put our messages that workers have in hand back into their queues; return how many that were.

    For a worker that begins to take messages, also when the broker is back, or an answer was lost. What a dead one had in hand
    is done after all, not in six hours when the broker's patience is over. What a living one has is delivered twice: the ledger
    has it done once. Of other programs nobody knows that: theirs stay, should they share the broker's database.
    """
    with channel.conn_or_acquire() as client:  # not the channel's own: an answer may be on its way there
        tags = client.zrange(channel.unacked_index_key, 0, AT_MOST - 1)
        notes = client.hmget(channel.unacked_key, tags) if tags else []
    ours = [tag for tag, note in zip(tags, notes, strict=True) if note is not None and _is_ours(note)]
    for tag in ours:
        channel.qos.restore_by_tag(tag, leftmost=True)
    return len(ours)


def _is_ours(note: bytes) -> bool:
    try:
        return str(json.loads(note)[0]["headers"]["task"]).startswith(OURS)
    except (ValueError, LookupError, TypeError, RecursionError):
        return False
