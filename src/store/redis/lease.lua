-- The right to replay, by compare-and-set: taken where nobody has it, or where the one who has it is named by the first
-- bytes of what stands there. Gives what stands in the way, or nothing.
-- KEYS[1]: the key. ARGV: the longest text that is read, the new text, for how many milliseconds, then beginnings.
local now = redis.call('GETRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)
local free = #now == 0
for place = 4, #ARGV do
  if string.sub(now, 1, #ARGV[place]) == ARGV[place] then
    free = true
  end
end
if not free then
  return now
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return ''
