-- Enters consumers among the leases, and creates the groups that are missing.
local lease = number()

-- Who is known to the group but not among the leases has lost its own, as when their key was evicted or deleted: what it
-- holds is given back as that of the dead, who are marked like this.
local function give_up_forgotten(leases, stream, group)
  for _, info in ipairs(call('XINFO', 'CONSUMERS', stream, group)) do
    local name = field(info, 'name')
    if name ~= PARK then call('ZADD', leases, 'NX', 0, name) end
  end
end

for i = 1, number() do
  local leases, consumer = key(), arg()
  call('ZADD', leases, now + lease, consumer)
  for r = 1, number() do
    local stream, group = key(), arg()
    local made = redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
    if made.err and not string.find(made.err, 'BUSYGROUP') then error({ err = made.err .. ' (' .. stream .. ')' }) end
    if made.err then give_up_forgotten(leases, stream, group) end
  end
end
return 0
