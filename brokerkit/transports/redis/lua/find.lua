-- In which places the message of an id is: their numbers.
local id, found = arg(), {}
for i = 1, #KEYS do
  if call('HEXISTS', KEYS[i], id) == 1 then found[#found + 1] = i end
end
return found
