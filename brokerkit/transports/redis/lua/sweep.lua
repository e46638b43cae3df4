-- Takes out of logs what is over their limits, and what all groups have read where no history is kept.
read_targets()
for _, t in ipairs(targets) do
  local history = arg() == '1'
  if not t.hold then trim(t) end
  if not history then
    local groups, oldest = groups_of(t.stream), nil
    for _, group in ipairs(groups) do
      local first = group.last
      if group.held > 0 then first = call('XPENDING', t.stream, group.name)[2] end
      if not oldest or above(oldest, first) then oldest = first end
    end
    if oldest then
      if t.largest < 0 then
        -- what has been read up to there; the boundary itself may still be held
        local boundary = oldest
        local held = false
        for _, group in ipairs(groups) do
          if group.held > 0 and #call('XPENDING', t.stream, group.name, oldest, oldest, 1) > 0 then held = true end
        end
        call('XTRIM', t.stream, 'MINID', '=', boundary)
        if not held then call('XDEL', t.stream, boundary) end
      else
        local read, hold = call('XRANGE', t.stream, '-', oldest, 'COUNT', 1000), t.hold
        t.hold = true
        drop(t, read)
        t.hold = hold
      end
    end
  end
end
return 0
