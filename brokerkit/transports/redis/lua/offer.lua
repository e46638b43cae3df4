-- Takes back that somebody waits, and wakes others for what is ready. `left`: it is no active consumer any more either.
local ear = arg()
for i = 1, number() do
  local waiting, leases, active, consumer, left = key(), key(), key(), arg(), arg() == '1'
  if left and call('GET', active) == consumer then call('DEL', active) end
  for l = 1, number() do
    local level, ready = number(), 0
    call('ZREM', waiting, waiter(level, ear, consumer))
    for r = 1, number() do
      local stream, group = key(), arg()
      local pending = redis.pcall('XPENDING', stream, group, '-', '+', 100, PARK)
      if not pending.err then
        ready = ready + #pending
        for _, info in ipairs(call('XINFO', 'GROUPS', stream)) do
          if field(info, 'name') == group then
            local last = field(info, 'last-delivered-id')
            ready = ready + #call('XRANGE', stream, '(' .. last, '+', 'COUNT', 1)
          end
        end
      end
    end
    if left then wake(waiting, nil, 1000) elseif ready > 0 then wake(waiting, level, ready) end
  end
end
return 0
