-- Where messages go: queues, logs and inboxes, as described in ARGV with their keys in KEYS.
local targets = {}
local LIGHT = 65536 -- bytes of a message that may be handed over: more would burden the connection that wakes

local function read_targets()
  for i = 1, number() do
    local kind = arg()
    local t = { kind = kind }
    if kind == 'q' then
      t.delayed, t.payloads, t.waiting, t.index, t.leases = key(), key(), key(), key(), key()
      t.lanes, t.most, t.single = number(), number(), arg() == '1'
      t.streams, t.added = {}, {}
      for lane = 1, t.lanes do t.streams[lane] = key() end
    elseif kind == 'l' then
      t.delayed, t.payloads, t.index, t.meta, t.stream = key(), key(), key(), key(), key()
      t.kept, t.hold, t.most, t.largest, t.age = arg() == '1', arg() == '1', number(), number(), number()
      t.waiting = {}
      for group = 1, number() do t.waiting[group] = key() end
      t.kept = t.kept or #t.waiting > 0
      t.new = 0
    else
      t.alive, t.list, t.channel = key(), key(), arg()
    end
    targets[i] = t
  end
end

local function length(t)
  local n = call('ZCARD', t.delayed)
  for _, stream in ipairs(t.streams) do n = n + call('XLEN', stream) end
  return n
end

local function above(one, other)
  local ms, seq = string.match(one, '(%d+)-(%d+)')
  local ms2, seq2 = string.match(other, '(%d+)-(%d+)')
  ms, ms2 = tonumber(ms), tonumber(ms2)
  return ms > ms2 or (ms == ms2 and tonumber(seq) > tonumber(seq2))
end

local function groups_of(stream)
  local groups = {}
  local found = redis.pcall('XINFO', 'GROUPS', stream)
  if found.err then return groups end
  for i, info in ipairs(found) do
    groups[i] = { name = field(info, 'name'), last = field(info, 'last-delivered-id'), held = field(info, 'pending') }
  end
  return groups
end

-- Removes entries from a log. What a member holds stays; what a group has not seen is counted as lost to it, or stays
-- where the log holds it. Returns how many are gone, and whether one was left because a group has not seen it.
local function drop(t, entries)
  local groups, gone, freed, lost, unread = groups_of(t.stream), {}, 0, {}, false
  for _, entry in ipairs(entries) do
    local id, held, losers = entry[1], false, {}
    for _, group in ipairs(groups) do
      if above(id, group.last) then
        losers[#losers + 1] = group.name
      elseif group.held > 0 and #call('XPENDING', t.stream, group.name, id, id, 1) > 0 then
        held = true
      end
    end
    if t.hold and #losers > 0 then
      unread = true
      break
    end
    if not held then
      gone[#gone + 1] = id
      freed = freed + #(field(entry[2], 'm') or '')
      for _, name in ipairs(losers) do lost[name] = (lost[name] or 0) + 1 end
    end
  end
  if #gone > 0 then call('XDEL', t.stream, unpack(gone)) end
  if t.largest >= 0 then call('HINCRBY', t.meta, 'bytes', -freed) end
  for name, n in pairs(lost) do call('HINCRBY', t.meta, 'lost:' .. name, n) end
  return #gone, unread
end

local function bytes(t) return tonumber(call('HGET', t.meta, 'bytes') or '0') end

-- Brings a log within its limits.
local function trim(t)
  if t.age >= 0 then
    drop(t, call('XRANGE', t.stream, '-', string.format('%.0f', math.max(now - t.age - 1, 0)), 'COUNT', 1000))
  end
  if t.most >= 0 then
    local surplus = call('XLEN', t.stream) - t.most
    if surplus > 0 then drop(t, call('XRANGE', t.stream, '-', '+', 'COUNT', math.min(surplus, 1000))) end
  end
  if t.largest >= 0 then
    local surplus, entries = bytes(t) - t.largest, {}
    if surplus > 0 then
      for _, entry in ipairs(call('XRANGE', t.stream, '-', '+', 'COUNT', 1000)) do
        if surplus <= 0 then break end
        surplus = surplus - #(field(entry[2], 'm') or '')
        entries[#entries + 1] = entry
      end
      drop(t, entries)
    end
  end
end

local function log_full(t, wanted)
  return (t.most >= 0 and call('XLEN', t.stream) + wanted > t.most) or (t.largest >= 0 and bytes(t) + wanted > t.largest)
end

-- Whether n more fit. `leaving` will have left meanwhile.
local function takes(t, n, leaving)
  if t.kind == 'q' then return t.most < 0 or length(t) + n - leaving <= t.most end
  if t.kind == 'l' and t.hold then
    while log_full(t, n) do
      local gone = drop(t, call('XRANGE', t.stream, '-', '+', 'COUNT', 100))
      if gone == 0 then return false end
    end
  end
  return true
end

local function append(t, blob)
  if not t.kept then return end
  call('XADD', t.stream, '*', 'm', blob)
  if t.largest >= 0 then call('HINCRBY', t.meta, 'bytes', #blob) end
  t.new = t.new + 1
end

-- Puts what is not due yet aside. Whoever waits looks at the time again if nothing else is due before.
local function delay(delayed, payloads, waiting, member, due, payload)
  call('HSET', payloads, member, cmsgpack.pack(payload))
  call('ZADD', delayed, due, member)
  if waiting and call('ZRANGE', delayed, 0, 0)[1] == member then wake(waiting, nil, 1) end
end

-- Puts a message into a target; `member` names it among the delayed.
local function place(t, lane, id, due, blob, member)
  if t.kind == 'q' then
    if due > now then
      delay(t.delayed, t.payloads, t.waiting, member, due, { lane, id, 'm', blob })
      put_index(t.index, id, 'z:' .. member)
    else
      local entry = call('XADD', t.streams[lane + 1], '*', 'm', blob)
      put_index(t.index, id, lane .. ':' .. entry)
      t.added[lane] = (t.added[lane] or 0) + 1
      t.light = #blob <= LIGHT
    end
  elseif t.kind == 'l' then
    if due > now then
      delay(t.delayed, t.payloads, nil, member, due, { 0, id, 'm', blob })
      put_index(t.index, id, 'z:' .. member)
      for _, waiting in ipairs(t.waiting) do wake(waiting, nil, 1) end
    else
      append(t, blob)
    end
  else
    -- A single reply comes with the wake-up, too: its reader has it sooner, and drops the other copy.
    local alone = call('RPUSH', t.list, blob) == 1 and #blob <= LIGHT
    call('PEXPIRE', t.list, 600000)
    call('SPUBLISH', t.channel, 'inbox ' .. t.list .. (alone and '\n' .. blob or ''))
  end
end

-- Whether a target is there at all: an inbox may have gone.
local function there(t) return t.kind ~= 'b' or call('EXISTS', t.alive) == 1 end

-- Gives a single new message to somebody who waits for it, which saves the question and its answer. What gets lost on
-- the way is found by its consumer among what it holds.
local function hand_over(t, lane, among)
  each_waiter(t.waiting, among, 1, function(channel, subscription, consumer)
    if not alive(t.leases, consumer) then return false end
    local head = subscription .. ' ' .. t.waiting
    local found = redis.pcall('XREADGROUP', 'GROUP', 'bk', consumer, 'COUNT', 1, 'STREAMS', t.streams[lane + 1], '>')
    if not found or found.err then return call('SPUBLISH', channel, head) > 0 end
    local entry, fields, sizes = found[1][2][1][1], found[1][2][1][2], {}
    for i, part in ipairs(fields) do sizes[i] = #part end
    local about = table.concat({ lane, now, entry, table.concat(sizes, ','), consumer }, ' ')
    if call('SPUBLISH', channel, head .. '\n' .. about .. '\n' .. table.concat(fields)) == 0 then
      call('XCLAIM', t.streams[lane + 1], 'bk', PARK, 0, entry, 'RETRYCOUNT', 0, 'JUSTID') -- he is gone
      wake(t.waiting, among, 1)
    end
    return true
  end)
end

-- Wakes whoever waits for what has been added, and trims the logs.
local function announce()
  for _, t in ipairs(targets) do
    if t.kind == 'q' then
      for lane, n in pairs(t.added) do
        local among = t.lanes > 1 and lane or nil -- where there is one lane, everybody waits for it
        if t.single then
          wake(t.waiting, nil, 1000)
        elseif n == 1 and t.light then
          hand_over(t, lane, among)
        else
          wake(t.waiting, among, n)
        end
      end
    elseif t.kind == 'l' and t.new > 0 then
      for _, waiting in ipairs(t.waiting) do wake(waiting, 0, t.new) end
      if not t.hold then trim(t) end
    end
  end
end

-- A message as it stands in ARGV.
local function read_message()
  local m = { id = arg(), due = number(), blob = arg(), ways = {} }
  for i = 1, number() do m.ways[i] = { targets[number()], number() } end
  m.record = read_record()
  return m
end

local serial = 0
local function member()
  serial = serial + 1
  return string.format('%s%06d-%05d-%s', time[1], time[2], serial, seq)
end

local function put(m)
  for _, way in ipairs(m.ways) do place(way[1], way[2], m.id, m.due, m.blob, member()) end
end
