-- Removes a message that waits, from everywhere it is, and stores its record; not if somebody holds a copy. d done, n
-- not done, m the record, or the message, is not what it was when it was looked at.
local id, places, found = arg(), {}, false
for i = 1, number() do
  local p = { index = key(), delayed = key(), payloads = key(), starts = key(), group = arg(), known = arg(), streams = {} }
  for l = 1, number() do p.streams[l] = key() end
  places[i] = p
end
local record = read_record()
local doomed = {}
for _, p in ipairs(places) do
  if (call('HGET', p.index, id) or '') ~= p.known then return 'm' end
  for kind, name in string.gmatch(p.known, '(%w+):(%S+)') do
    if kind == 'z' then
      if call('ZSCORE', p.delayed, name) then doomed[#doomed + 1] = { p, nil, name } end
    else
      local stream = p.streams[tonumber(kind) + 1]
      if #call('XRANGE', stream, name, name) > 0 then
        local holder = call('XPENDING', stream, p.group, name, name, 1)[1]
        if holder and holder[2] ~= PARK then return once('n') end
        doomed[#doomed + 1] = { p, stream, name, holder }
      end
    end
  end
end
if #doomed == 0 then return once('n') end
local verdict = record and judged(record) or 'd'
if verdict == 'm' then return 'm' end
for _, each in ipairs(doomed) do
  local p, stream, name, holder = each[1], each[2], each[3], each[4]
  if stream then
    if holder then call('XACK', stream, p.group, name) end
    call('XDEL', stream, name)
    call('HDEL', p.starts, name)
  else
    call('ZREM', p.delayed, name)
    call('HDEL', p.payloads, name)
  end
  call('HDEL', p.index, id)
end
if record and verdict == 'd' then write(record) end
return once('d')
