-- Keeps a worker's heartbeat for so many milliseconds, or removes it; those that have run out go, too.
local ends, bodies, worker, ttl, body = key(), key(), arg(), number(), arg()
local over = call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, 100)
over[#over + 1] = worker
call('ZREM', ends, unpack(over))
call('HDEL', bodies, unpack(over))
if ttl > 0 then
  call('ZADD', ends, now + ttl, worker)
  call('HSET', bodies, worker, body)
end
return 0
