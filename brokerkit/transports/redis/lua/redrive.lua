-- Moves dead letters back to where they came from, as long as there is room. An answer per entry, as one letter: d done,
-- n it is gone or somebody holds it, f there is no room.
read_targets()
local home, grave_group, answers, room = targets[1], arg(), {}, true
for i = 1, number() do
  local stream, entry, id, lane, overlay = key(), arg(), arg(), number(), arg()
  local holder = call('XPENDING', stream, grave_group, entry, entry, 1)[1]
  local found = call('XRANGE', stream, entry, entry)[1]
  room = room and takes(home, 1, 0)
  answers[i] = room and 'n' or 'f'
  if room and found and (not holder or holder[2] == PARK) then
    local copy = call('XADD', home.streams[lane + 1], '*', unpack(copied(found[2], overlay)))
    put_index(home.index, id, lane .. ':' .. copy)
    home.added[lane] = (home.added[lane] or 0) + 1
    call('XACK', stream, grave_group, entry)
    call('XDEL', stream, entry)
    answers[i] = 'd'
  end
end
announce()
return once(table.concat(answers))
