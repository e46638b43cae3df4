-- Publishes a batch: an answer per message, as one letter. d done, u nobody takes it, F full, m done, but its record has
-- to be merged, x it did not work; why follows on another line. E alone: the topology has changed.
local epoch, expected = key(), arg()
if expected ~= '' and (call('GET', epoch) or '0') ~= expected then return 'E' end
read_targets()
local answers = {}
local problem
local function publish(m, i)
  for _, way in ipairs(m.ways) do
    if not there(way[1]) then answers[i] = 'u' elseif not takes(way[1], 1, 0) then answers[i] = 'F' end
  end
  if answers[i] ~= 'd' then return end
  put(m)
  if m.record then
    local verdict = judged(m.record)
    if verdict == 'd' then write(m.record) elseif verdict == 'm' then answers[i] = 'm' end
  end
end

for i = 1, number() do
  local m = read_message()
  answers[i] = 'd'
  local trouble = attempt(publish, m, i)
  if trouble then answers[i], problem = 'x', problem or trouble end
end
announce()
return once(table.concat(answers) .. (problem and '\n' .. problem or ''))
