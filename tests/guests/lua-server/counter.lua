-- A counter for all clients: what a script defines at the start is there for everybody.
local counts = {}

function count(name)
  counts[name] = (counts[name] or 0) + 1
  return counts[name]
end

function total()
  local sum = 0
  for _, value in pairs(counts) do
    sum = sum + value
  end
  return sum
end
