-- Copies entries of a log into a group's own stream; answers how many, and the last one.
local log, own, waiting, first, last, most = key(), key(), key(), arg(), arg(), arg()
local entries = call('XRANGE', log, first, last, 'COUNT', most)
for _, entry in ipairs(entries) do call('XADD', own, '*', unpack(entry[2])) end
wake(waiting, 0, #entries)
return once(#entries .. ' ' .. (#entries > 0 and entries[#entries][1] or ''))
