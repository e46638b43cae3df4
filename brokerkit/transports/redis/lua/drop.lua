-- Deletes a place with all that it holds, unless that is more than may be lost, or somebody reads it. Answers what it
-- holds, how many read it, and 1 if it is gone.
local leases, delayed, streams, log, group, most = key(), key(), {}, '', arg(), number()
for i = 1, number() do streams[i] = key() end
if group ~= '' then log = key() end
local n, consumers = holding(leases, delayed, streams, log, group)
if consumers > 0 or n > most then return { n, consumers, 0 } end
if log ~= '' then redis.pcall('XGROUP', 'DESTROY', log, group) end
for i = 1, #KEYS do
  if KEYS[i] ~= log then call('DEL', KEYS[i]) end
end
return { n, consumers, 1 }
