-- Moves what is in the lanes that a queue no longer has to its most urgent one. Answers how many entries were moved, and
-- how many somebody still holds.
local index, delayed, payloads, waiting, starts = key(), key(), key(), key(), key()
local group, lanes, before, most = arg(), number(), number(), number()
local streams, moved, held = {}, 0, 0
for i = 1, before do streams[i] = key() end
local target = streams[lanes]
for level = lanes, before - 1 do
  local stream = streams[level + 1]
  for _, entry in ipairs(call('XRANGE', stream, '-', '+', 'COUNT', most)) do
    local pending = redis.pcall('XPENDING', stream, group, entry[1], entry[1], 1)
    local holder = not pending.err and pending[1]
    if holder and holder[2] ~= PARK then
      held = held + 1
    else
      local copy = call('XADD', target, '*', unpack(entry[2]))
      local blob = field(entry[2], 'm')
      local known, message = pcall(cmsgpack.unpack, blob or '')
      local id = known and type(message) == 'table' and message.id
      local places = id and call('HGET', index, id)
      if places then
        local old = level .. ':' .. entry[1]
        local at, stop = string.find(places, old, 1, true)
        if at then
          local new = (lanes - 1) .. ':' .. copy
          call('HSET', index, id, string.sub(places, 1, at - 1) .. new .. string.sub(places, stop + 1))
        end
      end
      if holder then call('XACK', stream, group, entry[1]) end
      call('XDEL', stream, entry[1])
      call('HDEL', starts, entry[1])
      moved = moved + 1
    end
  end
end
for _, member in ipairs(call('ZRANGE', delayed, 0, -1)) do
  local payload = call('HGET', payloads, member)
  local parts = payload and cmsgpack.unpack(payload)
  if parts and parts[1] >= lanes then
    parts[1] = lanes - 1
    call('HSET', payloads, member, cmsgpack.pack(parts))
  end
end
if moved > 0 then wake(waiting, lanes - 1, moved) end
return { moved, held }
