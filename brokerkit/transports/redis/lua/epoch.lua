-- Raises the epoch that publishers must know; answers what it is now.
local epoch, new = key(), arg()
local known = call('GET', epoch) or '0'
if tonumber(known) >= tonumber(new) then return known end
call('SET', epoch, new)
return new
