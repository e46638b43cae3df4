-- The heartbeats that have not run out.
local ends, bodies = key(), key()
local workers = call('ZRANGEBYSCORE', ends, string.format('(%.0f', now), '+inf')
if #workers == 0 then return {} end
return call('HMGET', bodies, unpack(workers))
