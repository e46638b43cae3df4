-- Keeps another fragment of an app, or none any more, and notes what is to be deleted or moved then. E: somebody else has
-- changed something meanwhile.
local topology, epoch, leaving = key(), key(), key()
local expected, app, fragment = arg(), arg(), arg()
local known = call('GET', epoch) or '0'
if known ~= expected then return 'E' end
if fragment == '' then call('HDEL', topology, app) else call('HSET', topology, app, fragment) end
call('SET', epoch, string.format('%.0f', math.max(tonumber(known) + 1, time[1] * 1000000 + time[2])))
for _ = 1, number() do call('HSET', leaving, arg(), arg()) end
return 'd'
