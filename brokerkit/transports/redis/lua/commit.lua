-- Settles a batch, each unit with its record and its follow-ups as one step: an answer per unit, as one letter. d done,
-- l lost, f failed, s stale record, t record too large, m record to be merged first, u unroutable, F full; why the first
-- one failed that could not be carried out follows on another line. E alone: the topology has changed.
local epoch, expected = key(), arg()
if expected ~= '' and (call('GET', epoch) or '0') ~= expected then return 'E' end
read_targets()

local sources = {}
for i = 1, number() do
  local s = { leases = key(), waiting = key(), delayed = key(), payloads = key(), index = key(), starts = key() }
  s.consumer, s.single, s.reads, s.ids, s.started, s.ready = arg(), arg() == '1', {}, {}, {}, {}
  for r = 1, number() do s.reads[r] = { stream = key(), group = arg(), own = arg() == '1', gone = {}, back = {} } end
  s.alive = alive(s.leases, s.consumer)
  sources[i] = s
end

local function in_parts(command, prefix, values)
  for first = 1, #values, 1000 do
    local last = math.min(first + 999, #values)
    if #prefix == 1 then
      redis.pcall(command, prefix[1], unpack(values, first, last))
    else
      redis.pcall(command, prefix[1], prefix[2], unpack(values, first, last))
    end
  end
end

-- Acknowledges what has been collected. Of a stream that has gone, or is none any more, nothing is left to acknowledge.
local function flush(s)
  for _, r in ipairs(s.reads) do
    in_parts('XACK', { r.stream, r.group }, r.gone)
    if r.own then in_parts('XDEL', { r.stream }, r.gone) end
    r.gone = {}
    for count, ids in pairs(r.back) do
      for _, id in ipairs(ids) do
        redis.pcall('XCLAIM', r.stream, r.group, PARK, 0, id, 'RETRYCOUNT', count, 'JUSTID')
      end
    end
    r.back = {}
  end
  in_parts('HDEL', { s.index }, s.ids)
  in_parts('HDEL', { s.starts }, s.started)
  s.ids, s.started = {}, {}
end

local function read_unit()
  local u = { source = sources[number()] }
  u.read, u.entry, u.id, u.started, u.op = u.source.reads[number()], arg(), arg(), arg() == '1', arg()
  if u.op == 'r' then
    u.marked, u.count, u.lane = arg() == '1', number(), number()
  elseif u.op == 'R' then
    u.after, u.overlay, u.to, u.lane = number(), arg(), u.source.reads[number()], number()
  elseif u.op == 'd' then
    u.grave, u.lane, u.story, u.ends = targets[number()], number(), arg(), arg()
  end
  u.record, u.trouble, u.messages = read_record(), arg(), {}
  for i = 1, number() do u.messages[i] = read_message() end
  return u
end

-- What stands against the follow-ups.
local function refused(u)
  if u.trouble ~= '' then return u.trouble end
  local wanted = {}
  for _, m in ipairs(u.messages) do
    for _, way in ipairs(m.ways) do
      if not there(way[1]) then return 'u' end
      wanted[way[1]] = (wanted[way[1]] or 0) + 1
    end
  end
  local leaves = u.op == 'a' or u.op == 'd'
  for t, n in pairs(wanted) do
    if t.most and t.most >= 0 then flush(u.source) end
    if not takes(t, n, leaves and t.delayed == u.source.delayed and 1 or 0) then return 'F' end
  end
end

local function check(u)
  if not u.source.alive then return 'l' end
  if u.op == 'a' and #u.messages > 0 then -- what was settled already must not send them again
    local pending = redis.pcall('XPENDING', u.read.stream, u.read.group, u.entry, u.entry, 1)
    if pending.err or not pending[1] or pending[1][2] ~= u.source.consumer then return 'l' end
  end
  if u.op == 'R' or u.op == 'd' then
    u.found = call('XRANGE', u.read.stream, u.entry, u.entry)[1]
    if not u.found then return 'l' end
  end
  local verdict = u.record and judged(u.record)
  if verdict == 's' then return 's' end
  if u.trouble == 't' or (u.record and u.record.oversize) then return 't' end
  if verdict == 'm' then return 'm' end
  if u.op == 'd' and not (u.grave and takes(u.grave, 1, 0)) then return 'f' end
  return refused(u) or 'd'
end

local function redeliver(s, u)
  local fields = copied(u.found[2], u.overlay)
  if u.after > 0 then
    local name = member()
    delay(s.delayed, s.payloads, s.waiting, name, now + u.after, { u.lane, u.id, unpack(fields) })
    call('HSET', s.index, u.id, 'z:' .. name)
  else
    local entry = call('XADD', u.to.stream, '*', unpack(fields))
    call('HSET', s.index, u.id, u.lane .. ':' .. entry)
    s.ready[u.lane] = (s.ready[u.lane] or 0) + 1
  end
end

local function bury(u)
  local fields = copied(u.found[2], field(u.found[2], 'o') or '')
  for _, each in ipairs({ 'd', u.story }) do fields[#fields + 1] = each end
  if u.ends ~= '' then
    fields[#fields + 1] = 'x'
    fields[#fields + 1] = string.format('%.0f', now + tonumber(u.ends))
  end
  call('XADD', u.grave.streams[u.lane + 1], '*', unpack(fields))
  u.grave.added[u.lane] = (u.grave.added[u.lane] or 0) + 1
end

local function carry_out(u)
  local s, r = u.source, u.read
  for _, m in ipairs(u.messages) do
    put(m)
    if m.record and judged(m.record) == 'd' then write(m.record) end
  end
  if u.op == 'R' then redeliver(s, u) elseif u.op == 'd' then bury(u) end
  if u.record then write(u.record) end
  -- From here on nothing can fail.
  if u.op == 'r' then
    if u.marked then call('HINCRBY', s.starts, u.entry, -1) end
    r.back[u.count] = r.back[u.count] or {}
    table.insert(r.back[u.count], u.entry)
    s.ready[u.lane] = (s.ready[u.lane] or 0) + 1
  else
    r.gone[#r.gone + 1] = u.entry
    if u.started then s.started[#s.started + 1] = u.entry end
    if u.op ~= 'R' then s.ids[#s.ids + 1] = u.id end
  end
end

local answers, problem = {}, nil
local function settle(u, i)
  answers[i] = check(u)
  if answers[i] == 'd' then carry_out(u) end
end

for i = 1, number() do
  local u = read_unit()
  local trouble = attempt(settle, u, i)
  if trouble then answers[i], problem = 'f', problem or trouble end
end
for _, s in ipairs(sources) do
  flush(s)
  if s.single then
    wake(s.waiting, nil, 1000)
  else
    for lane, n in pairs(s.ready) do wake(s.waiting, lane, n) end
  end
end
announce()
forget_old()
return once(table.concat(answers) .. (problem and '\n' .. problem or ''))
