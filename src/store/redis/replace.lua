-- Replaces records and overrides by compare-and-set: each write for itself, in one step for everybody who looks on.
-- KEYS: features, and where our own keys may be used: overrides, ended, log.
-- ARGV: how many writes; their flags; how many log entries; the fields of each, after their number; then per write:
--   record before (is there, text), record after (is there, text), override before (is there, text),
--   what becomes of the override (k keep, p put, e end; text), ended marks after their number, its log entry (0: none).
-- Answers per write: 0 written, 1 the record is another, 2 the override is another.
-- What can fail (a right, a type, memory) fails before the marks: an override that stands must never count as ended. The
-- record is last.
local own = #KEYS == 4
local count = tonumber(ARGV[1])
local at = count + 2
local function take()
  local value = ARGV[at]
  at = at + 1
  return value
end
local function take_text()
  local is_there, text = take(), take()
  return is_there == '1' and text
end
local function take_list()
  local length = tonumber(take())
  local first = at
  at = at + length
  return length > 0, first, at - 1
end

local records = redis.call('HMGET', KEYS[1], unpack(ARGV, 2, count + 1))
local overrides = own and redis.call('HMGET', KEYS[2], unpack(ARGV, 2, count + 1))
local entries = {}
for i = 1, tonumber(take()) do
  local _, first, last = take_list()
  entries[i] = {first = first, last = last, flags = {}}
end
local answers, put, gone, replaced, marks = {}, {}, {}, {}, {}
for i = 1, count do
  local flag = ARGV[i + 1]
  local before, after, override = take_text(), take_text(), take_text()
  local becomes, text = take(), take()
  local has_marks, first_mark, last_mark = take_list()
  local entry = entries[tonumber(take())]
  if records[i] ~= before then
    answers[i] = 1
  elseif own and overrides[i] ~= override then
    answers[i] = 2
  else
    answers[i] = 0
    if own then
      if has_marks then
        marks[#marks + 1] = {first = first_mark, last = last_mark}
      end
      if entry then
        entry.flags[#entry.flags + 1] = flag
      end
      if becomes == 'p' then
        put[#put + 1] = flag
        put[#put + 1] = text
      elseif becomes == 'e' then
        gone[#gone + 1] = flag
      end
    end
    if after then
      replaced[#replaced + 1] = flag
      replaced[#replaced + 1] = after
    end
  end
end
for _, entry in ipairs(entries) do
  if #entry.flags > 0 then
    local flags = table.concat(entry.flags, ' ')
    redis.call('XADD', KEYS[4], 'MAXLEN', '~', '10000', '*', 'flag', flags, unpack(ARGV, entry.first, entry.last))
  end
end
if #put > 0 then
  redis.call('HSET', KEYS[2], unpack(put))
end
if #gone > 0 then
  redis.call('HDEL', KEYS[2], unpack(gone))
end
for _, list in ipairs(marks) do
  redis.call('HSET', KEYS[3], unpack(ARGV, list.first, list.last))
end
if #replaced > 0 then
  redis.call('HSET', KEYS[1], unpack(replaced))
end
return answers
