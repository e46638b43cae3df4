-- Extends leases and, if it may reap, gives back what the dead hold, in bounded steps. Answers, per source, whether it is
-- still ours, and then how many entries of the dead somebody else has deleted, and the milliseconds until this should be
-- done again at the latest.
local lease, reaping = number(), arg() == '1'
local answers, soonest, gone = {}, lease, 0

local function reap(leases, waiting, reads)
  for _, dead in ipairs(call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, 10)) do
    call('ZADD', leases, 0, dead) -- from here on it has lost what it holds, whatever is left to do
    local left, held = 1000, 0
    for _, r in ipairs(reads) do
      local parked, deleted = 1, 0
      while parked > 0 and left > 0 do
        parked, deleted = park(r[1], r[2], dead, math.min(left, 500), false)
        left, held, gone = left - parked, held + parked - deleted, gone + deleted
      end
    end
    if left > 0 then
      for _, r in ipairs(reads) do redis.pcall('XGROUP', 'DELCONSUMER', r[1], r[2], dead) end
      call('ZREM', leases, dead)
    else
      soonest = 1
    end
    wake(waiting, nil, held + 1)
  end
end

local function renew(leases, waiting, consumer, reads, i)
  if alive(leases, consumer) then
    call('ZADD', leases, now + lease, consumer)
  else
    answers[i] = 0
  end
  if reaping then
    reap(leases, waiting, reads)
    local first = call('ZRANGE', leases, 0, 0, 'WITHSCORES')[2]
    if first then soonest = math.max(1, math.min(soonest, tonumber(first) - now)) end
  end
end

-- Where a key is of the wrong type nobody can tell; whoever fetches there says so, and the others go on.
for i = 1, number() do
  local leases, waiting, consumer, reads = key(), key(), arg(), {}
  for r = 1, number() do reads[r] = { key(), arg() } end
  answers[i] = 1
  attempt(renew, leases, waiting, consumer, reads, i)
end
answers[#answers + 1] = gone
answers[#answers + 1] = soonest
return answers
