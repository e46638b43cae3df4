-- Counts a queue or group. Per lane: ready, held, delayed (-1: not counted); then consumers, and what the group lost.
local leases, delayed, payloads = key(), key(), key()
local out, by_lane = {}, {}

local lanes = number()
if lanes > 1 and call('ZCARD', delayed) <= 5000 then
  for _, payload in ipairs(call('HVALS', payloads)) do
    local lane = cmsgpack.unpack(payload)[1]
    by_lane[lane] = (by_lane[lane] or 0) + 1
  end
elseif lanes > 1 then
  for l = 0, lanes - 1 do by_lane[l] = -1 end
else
  by_lane[0] = call('ZCARD', delayed)
end
for l = 1, lanes do
  local ready, held = 0, 0
  for r = 1, number() do
    local stream, group, own = key(), arg(), arg() == '1'
    local pending = redis.pcall('XPENDING', stream, group)
    local parked, total = 0, 0
    if not pending.err then
      total = pending[1]
      for _, each in ipairs(pending[4] or {}) do
        if each[1] == PARK then parked = tonumber(each[2]) end
      end
    end
    held = held + total - parked
    if own then
      ready = ready + call('XLEN', stream) - total + parked
    else
      for _, info in ipairs(redis.pcall('XINFO', 'GROUPS', stream)) do
        if field(info, 'name') == group then
          local waits = count_undelivered(stream, info)
          ready = (waits < 0 or ready < 0) and -1 or ready + waits + parked
        end
      end
    end
  end
  out[#out + 1] = ready
  out[#out + 1] = held
  out[#out + 1] = by_lane[l - 1] or 0
end
out[#out + 1] = call('ZCOUNT', leases, string.format('%.0f', now), '+inf')
local lost = arg() == '1' and call('HGET', key(), arg())
out[#out + 1] = tonumber(lost or '0')
return { out, call('ZCARD', delayed) }
