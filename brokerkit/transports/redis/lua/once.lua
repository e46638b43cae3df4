-- A call that was carried out is not carried out again when its answer got lost: KEYS[1] keeps the answers of calls whose
-- process may not have seen them. ARGV[1] numbers this call. All up to ARGV[2] are over for that process: what of them
-- arrives late, from a connection that was given up, is refused. ARGV[3] is 1 once in a while: keep all this for longer.
local calls, seq, over, keep = key(), number(), number(), arg() == '1'
local known = call('HMGET', calls, seq, 'over', 'swept')
local forgotten = tonumber(known[2] or '0')
if known[1] then
  call('PEXPIRE', calls, 600000) -- a write, so that whoever waits for replicas waits for those that have all of it
  return known[1]
end
if seq <= forgotten then return redis.error_reply('BKLATE this call is over') end
local function once(answer)
  local swept = known[2] and tonumber(known[3])
  if not swept then
    call('HSET', calls, seq, answer, 'over', over, 'swept', over)
  elseif over - swept < 8 and #answer < 16 then -- a few short answers that nobody needs any more may stay
    call('HSET', calls, seq, answer, 'over', over)
  else
    for first = swept + 1, over, 1000 do
      local gone = {}
      for each = first, math.min(first + 999, over) do gone[#gone + 1] = each end
      call('HDEL', calls, unpack(gone))
    end
    call('HSET', calls, seq, answer, 'over', over, 'swept', over)
  end
  if keep or not swept then call('PEXPIRE', calls, 600000) end
  return answer
end
