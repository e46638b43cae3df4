-- What all scripts share. ARGV and KEYS are read one after the other, by key() and arg().
local call = redis.call
local k, a = 0, 0
local function key() k = k + 1; return KEYS[k] end
local function arg() a = a + 1; return ARGV[a] end
local function number() a = a + 1; return tonumber(ARGV[a]) end

local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local PARK = '~' -- the consumer that holds what waits to be delivered again

-- Who waits: <lane>:<channel>/<number of the subscription> <consumer>.
local function waiter(lane, ear, consumer) return lane .. ':' .. ear .. ' ' .. consumer end

-- Calls a function with those that wait for a lane (for any lane if it is nil), who wait no more, until it has returned
-- true n times.
local function each_waiter(waiting, lane, n, try)
  while n > 0 do
    local found
    if lane then
      found = call('ZRANGEBYSCORE', waiting, lane, lane, 'LIMIT', 0, 1)[1]
      if found then call('ZREM', waiting, found) end
    else
      found = call('ZPOPMIN', waiting)[1]
    end
    if not found then return end
    if try(string.match(found, '^%d+:(.*)/(%d+) (.*)$')) then n = n - 1 end
  end
end

-- Wakes up to n of those that wait. Whoever has gone is passed over.
local function wake(waiting, lane, n)
  each_waiter(waiting, lane, n, function(channel, subscription)
    return call('SPUBLISH', channel, subscription .. ' ' .. waiting) > 0
  end)
end

-- A consumer holds what it holds for as long as it is among the leases; 0 marks one that is being given up.
local function alive(leases, consumer)
  local till = call('ZSCORE', leases, consumer)
  return till and tonumber(till) > 0
end

local function field(fields, name)
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
end

-- The fields of an entry for a copy of it: with another overlay, and without the story of its death.
local function copied(fields, overlay)
  local copy = {}
  for i = 1, #fields, 2 do
    local name = fields[i]
    if name ~= 'o' and name ~= 'd' and name ~= 'x' then
      copy[#copy + 1] = name
      copy[#copy + 1] = fields[i + 1]
    end
  end
  if overlay ~= '' then
    copy[#copy + 1] = 'o'
    copy[#copy + 1] = overlay
  end
  return copy
end

-- Notes where the message of an id is. One that is published twice is in two places.
local function put_index(index, id, place)
  if call('HSETNX', index, id, place) == 0 then
    call('HSET', index, id, call('HGET', index, id) .. ' ' .. place)
  end
end

-- Gives a consumer's entries back to be delivered again; returns how many, at most `most`, and how many of them are gone
-- because somebody else has deleted them. Releasing sets the count of deliveries back by one.
local function park(stream, group, consumer, most, released)
  local pending = redis.pcall('XPENDING', stream, group, '-', '+', most, consumer)
  if pending.err then return 0, 0 end
  local by_count, left = {}, 0
  for _, each in ipairs(pending) do
    local count = released and math.max(each[4] - 1, 0) or each[4]
    by_count[count] = by_count[count] or {}
    table.insert(by_count[count], each[1])
  end
  for count, ids in pairs(by_count) do
    table.insert(ids, 'RETRYCOUNT')
    table.insert(ids, count)
    table.insert(ids, 'JUSTID')
    left = left + #call('XCLAIM', stream, group, PARK, 0, unpack(ids))
  end
  return #pending, #pending - left
end

-- Does something that may fail; the text of what went wrong, or nil.
local function attempt(what, ...)
  local done, problem = pcall(what, ...)
  if done then return nil end
  return type(problem) == 'table' and problem.err or tostring(problem)
end
