-- What a queue, group or log holds, and how many read it.
local function holding(leases, delayed, streams, log, group)
  local n = call('ZCARD', delayed)
  for _, stream in ipairs(streams) do n = n + call('XLEN', stream) end
  if log ~= '' then
    local pending = redis.pcall('XPENDING', log, group)
    if not pending.err then n = n + pending[1] end
    local groups = redis.pcall('XINFO', 'GROUPS', log)
    if not groups.err then
      for _, info in ipairs(groups) do
        if field(info, 'name') == group then
          local waits = count_undelivered(log, info)
          n = n + (waits < 0 and 100000 or waits)
        end
      end
    end
  end
  return n, call('ZCOUNT', leases, string.format('%.0f', now), '+inf')
end
