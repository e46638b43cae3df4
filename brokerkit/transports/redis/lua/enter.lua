-- Enters records in lists of them that do not lie beside them.
local lists = {}
for i = 1, number() do
  lists[i] = key()
  classes[lists[i]] = number()
end
for i = 1, number() do
  local list, at, id = lists[number()], arg(), arg()
  call('ZADD', list, at == '' and now or at, id)
end
forget_old()
return 0
