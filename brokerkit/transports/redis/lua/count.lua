-- Adds to a counter that is forgotten so many milliseconds later.
local name, by, ms = key(), arg(), arg()
local sum = call('INCRBY', name, by)
call('PEXPIRE', name, ms)
return sum
