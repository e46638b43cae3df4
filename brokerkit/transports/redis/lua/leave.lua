-- Ends consumers: what they hold goes back. `released`: as if it had not been delivered; else it stays counted, as of
-- one that has died, which is done for whoever asks about others, too.
local ear, released = arg(), arg() == '1'
for i = 1, number() do
  local leases, waiting, starts, active, consumer = key(), key(), key(), key(), arg()
  local held = 0
  for m = 1, number() do call('HINCRBY', starts, arg(), -1) end
  local lanes = {}
  for r = 1, number() do
    local stream, group, level = key(), arg(), number()
    local parked
    repeat
      parked = park(stream, group, consumer, 500, released)
      held = held + parked
    until parked < 500
    redis.pcall('XGROUP', 'DELCONSUMER', stream, group, consumer)
    call('ZREM', waiting, waiter(level, ear, consumer))
  end
  call('ZREM', leases, consumer)
  local single = call('GET', active) == consumer
  if single then call('DEL', active) end
  if held > 0 or single then wake(waiting, nil, single and 1000 or held) end
end
return 0
