-- Takes what is ready, promoting what is due; where nothing is, leaves word of who waits. Answers the time, when the
-- next delayed message is due (-1: none), and a list of what was found.
local ear = arg()
local out, next_due = {}, -1

local function due_by(delayed)
  local first = call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  if first[2] and (next_due < 0 or tonumber(first[2]) < next_due) then next_due = tonumber(first[2]) end
end

local function promote(s)
  local due = call('ZRANGEBYSCORE', s.delayed, '-inf', now, 'LIMIT', 0, 500)
  if #due > 0 then
    local payloads = call('HMGET', s.payloads, unpack(due))
    for i = 1, #due do
      if payloads[i] then
        local payload = cmsgpack.unpack(payloads[i])
        local lane = s.by_level[payload[1]] or s.lanes[#s.lanes]
        local entry = call('XADD', lane.reads[1].stream, '*', unpack(payload, 3))
        call('HSET', s.index, payload[2], lane.level .. ':' .. entry)
        lane.promoted = lane.promoted + 1
      end
    end
    call('ZREM', s.delayed, unpack(due))
    call('HDEL', s.payloads, unpack(due))
  end
  due_by(s.delayed)
end

local function recreate(i, r)
  call('XGROUP', 'CREATE', r.stream, r.group, '0', 'MKSTREAM')
  out[#out + 1] = { 'n', i, r.stream }
end

-- What was given back comes before what is new.
local function claim(i, s, lane, number_of_read, r, n)
  local pending = redis.pcall('XPENDING', r.stream, r.group, '-', '+', n, PARK)
  if pending.err then
    if not string.find(pending.err, 'NOGROUP') then error(pending) end
    recreate(i, r)
    return 0
  end
  if #pending == 0 then return 0 end
  local ids, counts = {}, {}
  for at, each in ipairs(pending) do
    ids[at] = each[1]
    counts[each[1]] = each[4] + 1
  end
  local entries = call('XCLAIM', r.stream, r.group, s.consumer, 0, unpack(ids))
  local marks = call('HMGET', s.starts, unpack(ids))
  local starts, deliveries, order = {}, {}, {}
  for at, id in ipairs(ids) do order[id] = marks[at] or '0' end
  for at, entry in ipairs(entries) do
    deliveries[at] = counts[entry[1]]
    starts[at] = order[entry[1]]
  end
  if #entries > 0 then out[#out + 1] = { 'e', i, lane.number, number_of_read, entries, deliveries, starts } end
  return #entries
end

local function read_new(i, s, lane, number_of_read, r, n)
  local found = redis.pcall('XREADGROUP', 'GROUP', r.group, s.consumer, 'COUNT', n, 'STREAMS', r.stream, '>')
  if not found then return 0 end
  if found.err then
    if not string.find(found.err, 'NOGROUP') then error(found) end
    recreate(i, r)
    found = call('XREADGROUP', 'GROUP', r.group, s.consumer, 'COUNT', n, 'STREAMS', r.stream, '>')
    if not found then return 0 end
  end
  local entries = found[1][2]
  out[#out + 1] = { 'e', i, lane.number, number_of_read, entries }
  return #entries
end

-- Of a queue that one consumer alone receives from, the next may only begin when nothing is held any more.
local function serves(s)
  local active = call('GET', s.active)
  if active == s.consumer then return true end
  if active and alive(s.leases, active) then return false end
  for _, lane in ipairs(s.lanes) do
    for _, r in ipairs(lane.reads) do
      local summary = redis.pcall('XPENDING', r.stream, r.group)
      for _, each in ipairs(summary[4] or {}) do
        if each[1] ~= PARK and each[1] ~= s.consumer then return false end
      end
    end
  end
  call('SET', s.active, s.consumer)
  return true
end

local function read_source()
  local s = { leases = key(), delayed = key(), payloads = key(), waiting = key(), index = key(), starts = key() }
  s.active = key()
  s.consumer, s.registered, s.single, s.most = arg(), arg() == '1', arg() == '1', number()
  s.log_delayed = arg() == '1' and key() or nil
  s.lanes, s.by_level = {}, {}
  for l = 1, number() do
    local lane = { number = l, level = number(), limit = number(), reads = {}, promoted = 0 }
    for r = 1, number() do lane.reads[r] = { stream = key(), group = arg() } end
    s.lanes[l] = lane
    s.by_level[lane.level] = lane
  end
  return s
end

local function take(i, s)
  local total, most = 0, s.most
  for _, lane in ipairs(s.lanes) do
    local left, fresh = lane.limit, 0
    if most >= 0 then left = math.min(left, most) end
    for pass = 1, 2 do
      for r, read in ipairs(lane.reads) do
        local got = 1000
        while left > 0 and got == 1000 do
          got = (pass == 1 and claim or read_new)(i, s, lane, r, read, math.min(left, 1000))
          left, total = left - got, total + got
          if most >= 0 then most = most - got end
          if pass == 2 then fresh = fresh + got end
        end
      end
    end
    if lane.promoted > fresh then wake(s.waiting, lane.level, lane.promoted - fresh) end
  end
  return total
end

local function serve(i, s)
  if not alive(s.leases, s.consumer) then
    out[#out + 1] = { 'l', i }
    return
  end
  promote(s)
  if s.log_delayed then
    due_by(s.log_delayed)
    if #call('ZRANGEBYSCORE', s.log_delayed, '-inf', now, 'LIMIT', 0, 1) > 0 then out[#out + 1] = { 'g', i } end
  end
  local total = (not s.single or serves(s)) and take(i, s) or 0
  for _, lane in ipairs(s.lanes) do
    local name = waiter(lane.level, ear, s.consumer)
    if total == 0 and lane.limit > 0 then
      call('ZADD', s.waiting, lane.level, name)
    elseif s.registered then
      call('ZREM', s.waiting, name)
    end
  end
  if total == 0 then out[#out + 1] = { 'w', i } end
end

-- A source that cannot be read (a key of the wrong type) does not keep us from the others.
for i = 1, number() do
  local s = read_source()
  local problem = attempt(serve, i, s)
  if problem then out[#out + 1] = { 'x', i, problem } end
end
return { string.format('%.0f', now), string.format('%.0f', next_due), out }
