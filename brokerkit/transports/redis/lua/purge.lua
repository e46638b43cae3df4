-- Deletes dead letters that nobody holds; answers how many.
local group, done = arg(), 0
for i = 1, number() do
  local stream, entry = key(), arg()
  local holder = call('XPENDING', stream, group, entry, entry, 1)[1]
  if not holder or holder[2] == PARK then
    call('XACK', stream, group, entry)
    done = done + call('XDEL', stream, entry)
  end
end
return once(tostring(done))
