-- Keeps KEYS[1] for ARGV[2] seconds. KEYS[2] holds when each entry was kept, KEYS[3] their sizes,
-- KEYS[4] the sum of those; above ARGV[3] the oldest go.
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
local size = #ARGV[1]
local before = redis.call('HGET', KEYS[3], KEYS[1])
local total = redis.call('INCRBY', KEYS[4], size - (before or 0))
local time = redis.call('TIME')
redis.call('ZADD', KEYS[2], time[1] * 1000000 + time[2], KEYS[1])
redis.call('HSET', KEYS[3], KEYS[1], size)
while total > tonumber(ARGV[3]) do
    local oldest = redis.call('ZPOPMIN', KEYS[2])[1]
    if not oldest then break end
    total = redis.call('DECRBY', KEYS[4], redis.call('HGET', KEYS[3], oldest) or 0)
    redis.call('HDEL', KEYS[3], oldest)
    redis.call('DEL', oldest)
end
return total
