-- Deletes dead letters that have been kept as long as their owners asked.
local group, done = arg(), 0
for i = 1, number() do
  local stream = key()
  for _, entry in ipairs(call('XRANGE', stream, '-', '+', 'COUNT', 200)) do
    local ends = field(entry[2], 'x')
    if ends and tonumber(ends) <= now then
      local pending = redis.pcall('XPENDING', stream, group, entry[1], entry[1], 1)
      local holder = not pending.err and pending[1]
      if not holder or holder[2] == PARK then
        if holder then call('XACK', stream, group, entry[1]) end
        done = done + call('XDEL', stream, entry[1])
      end
    end
  end
end
return done
