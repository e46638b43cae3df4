-- How many entries of a log a group has not been given; -1: too many to count.
local function count_undelivered(stream, info)
  local lag = field(info, 'lag')
  local last, n = field(info, 'last-delivered-id'), 0
  if lag then return lag end
  while n < 100000 do
    local part = call('XRANGE', stream, '(' .. last, '+', 'COUNT', 500)
    n = n + #part
    if #part < 500 then return n end
    last = part[500][1]
  end
  return -1
end
