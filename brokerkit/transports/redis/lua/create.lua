-- Creates the consumer groups that are missing.
for i = 1, number() do
  local made = redis.pcall('XGROUP', 'CREATE', KEYS[i], arg(), arg(), 'MKSTREAM')
  if made.err and not string.find(made.err, 'BUSYGROUP') then error({ err = made.err .. ' (' .. KEYS[i] .. ')' }) end
end
return 'd'
