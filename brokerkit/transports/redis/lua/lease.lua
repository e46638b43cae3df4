-- Takes, keeps or gives back what one owner at a time has: 1 done, 0 it is somebody else's.
local name, owner, ms = key(), arg(), number()
local holder = call('GET', name)
if holder and holder ~= owner then return 0 end
if ms > 0 then call('SET', name, owner, 'PX', ms) else call('DEL', name) end
return 1
