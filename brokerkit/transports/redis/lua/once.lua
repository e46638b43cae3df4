-- A call that was carried out is not carried out again when its answer got lost: KEYS[1] keeps the answers of calls whose
-- process may not have seen them. ARGV[1] numbers this call. All up to ARGV[2] are over for that process: what of them
-- arrives late, from a connection that was given up, is refused. ARGV[3] is 1 once in a while: keep all this for longer.
local calls, seq, over, keep = key(), number(), number(), arg() == '1'
local known = call('HMGET', calls, seq, 'over')
local forgotten = tonumber(known[2] or '0')
if known[1] then
  call('PEXPIRE', calls, 600000) -- a write, so that whoever waits for replicas waits for those that have all of it
  return known[1]
end
if seq <= forgotten then return redis.error_reply('BKLATE this call is over') end
local function once(answer)
  call('HSET', calls, seq, answer, 'over', over)
  if known[2] then
    for first = forgotten + 1, over, 1000 do
      local gone = {}
      for each = first, math.min(first + 999, over) do gone[#gone + 1] = each end
      call('HDEL', calls, unpack(gone))
    end
  end
  if keep or not known[2] then call('PEXPIRE', calls, 600000) end
  return answer
end
