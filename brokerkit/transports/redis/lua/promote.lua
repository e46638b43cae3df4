-- Appends to logs what is due.
read_targets()
local done = 0
for _, t in ipairs(targets) do
  local due = call('ZRANGEBYSCORE', t.delayed, '-inf', now, 'LIMIT', 0, 500)
  for _, name in ipairs(due) do
    local payload = call('HGET', t.payloads, name)
    if payload then
      payload = cmsgpack.unpack(payload)
      append(t, payload[4])
      call('HDEL', t.index, payload[2])
    end
    call('ZREM', t.delayed, name)
    call('HDEL', t.payloads, name)
  end
  done = done + #due
end
announce()
return done
