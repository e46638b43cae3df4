-- Stores a fragment of the topology. E: somebody else has changed it meanwhile.
local topology, epoch, expected, app, fragment = key(), key(), arg(), arg(), arg()
local known = call('GET', epoch) or '0'
if known ~= expected then return 'E' end
if fragment ~= '' then
  call('HSET', topology, app, fragment)
  -- the time, so that it grows also when what was known has been forgotten
  call('SET', epoch, string.format('%.0f', math.max(tonumber(known) + 1, time[1] * 1000000 + time[2])))
end
return 'd'
