-- What there is of a message in some places: for each, what its index says, and the fields of the copies.
local id, found = arg(), {}
for i = 1, number() do
  local index, delayed, payloads, streams = key(), key(), key(), {}
  for l = 1, number() do streams[l] = key() end
  local known = call('HGET', index, id) or ''
  local copies = {}
  for kind, name in string.gmatch(known, '(%w+):(%S+)') do
    if kind == 'z' then
      local payload = call('ZSCORE', delayed, name) and call('HGET', payloads, name)
      if payload then copies[#copies + 1] = { unpack(cmsgpack.unpack(payload), 3) } end
    else
      local stream = streams[tonumber(kind) + 1]
      local entry = call('XRANGE', stream, name, name)[1]
      if entry then copies[#copies + 1] = entry[2] end
    end
  end
  found[i] = { known, copies }
end
return found
