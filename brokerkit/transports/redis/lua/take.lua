-- The replies in an inbox; those that its reader has taken so far, as many as ARGV[1] counts, are removed. May be asked
-- again, and late: nothing is removed twice. Where the count got lost, replies may come again.
local list, counter, taken, most = key(), key(), number(), number()
local removed = tonumber(call('GET', counter) or '-1')
if taken > removed then
  if removed >= 0 then call('LTRIM', list, taken - removed, -1) end
  call('SET', counter, taken, 'PX', 600000)
end
return call('LRANGE', list, 0, most - 1)
