-- Writes start marks: an answer per delivery, d done or l lost.
local answers = {}
for i = 1, number() do
  local leases, starts, consumer, entry = key(), key(), arg(), arg()
  if alive(leases, consumer) then
    call('HINCRBY', starts, entry, 1)
    answers[i] = 'd'
  else
    answers[i] = 'l'
  end
end
return once(table.concat(answers))
