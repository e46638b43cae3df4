-- Records: 4 bytes of version, 22 of head (run, attempt + postponed, deliveries, rank, what it has to merge, created),
-- then the body, which scripts do not look into.
local HEAD = '>I4I4I4BBd'

-- What becomes of a report: d it may be stored, s it is stale, m it has to be merged with what is stored.
local function judge(record, head, mask)
  local old = call('GETRANGE', record, 0, 25)
  if old == '' then return 'd' end
  local run, attempt, deliveries, rank, flags, created = struct.unpack(HEAD, old, 5)
  local run2, attempt2, deliveries2, rank2, _, created2 = struct.unpack(HEAD, head)
  if run2 ~= run then
    if run2 < run then return 's' end
  elseif rank == 2 then
    return 's'
  elseif attempt2 ~= attempt then
    if attempt2 < attempt then return 's' end
  elseif deliveries2 ~= deliveries then
    if deliveries2 < deliveries then return 's' end
  elseif rank2 < rank then
    return 's'
  end
  if bit.band(flags, mask) ~= 0 or (created ~= 0 and created ~= created2) then return 'm' end
  return 'd'
end

local version = struct.pack('>I4', (time[1] * 1000000 + time[2]) % 4294967296)

-- Writes what has been judged; `class` is the sorted set of finished records it belongs to, or ''.
local classes = {}
local function write_record(record, id, head, body, ttl, class)
  call('SET', record, version .. head .. body, 'PX', ttl)
  if class ~= '' then
    call('ZADD', class, now, id)
    classes[class] = ttl
  end
end

-- Takes those out of the sorted sets whose records have ended by themselves, as many as may be after every batch.
local function forget_old()
  for class, ttl in pairs(classes) do
    local old = call('ZRANGE', class, '-inf', string.format('%.0f', now - ttl), 'BYSCORE', 'LIMIT', 0, 2000)
    if #old > 0 then call('ZREM', class, unpack(old)) end
  end
end

-- A report as it stands in ARGV, with its key in KEYS; nil where there is none.
local function read_record()
  local mode = arg()
  if mode == '' then return nil end
  local r = { key = key(), expected = arg(), id = arg(), head = arg(), mask = number(), ttl = arg(), body = arg() }
  r.class = string.lower(mode) == 'p' and '' or key()
  r.oversize = r.body == ''
  if string.lower(mode) ~= mode then r.created, r.name, r.at, r.kept = key(), key(), arg(), arg() end
  return r
end

local function judged(r)
  if r.expected ~= '' then
    -- merged by the client with what it has read
    return call('GETRANGE', r.key, 0, 3) == r.expected and 'd' or 'm'
  end
  return judge(r.key, r.head, r.mask)
end

local function write(r)
  write_record(r.key, r.id, r.head, r.body, r.ttl, r.class)
  if r.at then
    for _, index in ipairs({ r.created, r.name }) do
      call('ZADD', index, 'NX', r.at, r.id)
      classes[index] = r.kept
    end
  end
end
