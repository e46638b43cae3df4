-- Answers what a place holds, and how many read it.
local leases, delayed, streams, log, group = key(), key(), {}, '', arg()
for i = 1, number() do streams[i] = key() end
if group ~= '' then log = key() end
local n, consumers = holding(leases, delayed, streams, log, group)
return { n, consumers }
