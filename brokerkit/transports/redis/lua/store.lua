-- Stores a batch of records: an answer per record, as one letter; e where it did not work.
local answers = {}
local function store(r, i)
  answers[i] = judged(r)
  if answers[i] == 'd' and r.oversize then answers[i] = 't' end
  if answers[i] == 'd' then write(r) end
end
for i = 1, number() do
  if attempt(store, read_record(), i) then answers[i] = 'e' end
end
forget_old()
return table.concat(answers)
