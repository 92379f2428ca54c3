-- Counts what callers take: the one place that knows how much is left, by the server's own clock.
--
-- KEYS: the counters that the steps name by their place.
-- ARGV[1]: how long a lease is good for without being renewed, in ms.
-- ARGV[2]: JSON, a list of steps, taken one after the other. The answer is a list of their results.
--
--   {"reserve", id, {{key, kind, limit, amount, width, buckets}, …}}
--       Takes all or nothing. -> {refusing, wait, {{remaining, bucket, reset}, …}}
--       refusing: 0, or the place of the counter that refuses; wait: ms until it has room, at the
--       latest; -1: never. reset: ms until the counter is as if nothing had been taken.
--   {"settle", id, {{key, kind, width, buckets, bucket, reserved, taken}, …}, again}
--       Ends a reservation. again: it may have been ended before.
--   {"renew", id, {{key, kind, bucket, reserved}, …}}
--       Says that it is still under way.
--   {"join", id, {{key}}}
--       Says that a process is there. -> how many are
--
-- Kinds: "q" counts requests and "t" tokens in a sliding window, "c" what is under way.
--
-- A window is a hash of amounts by bucket, `width` ms each: now / width, and `buckets` before it, so
-- that it never spans less than it should. s: their sum; o: the oldest that may hold something; h:
-- the newest. What of "t" is reserved stands in a sorted set beside it, by the end of its lease: a
-- process that ends without a word gives back what it had reserved.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = tonumber(ARGV[1])

local function add(window, bucket, amount)
    redis.call('HINCRBY', window.key, bucket, amount)
    window.sum = window.sum + amount
    window.head = math.max(window.head, bucket)
    redis.call('HSET', window.key, 's', window.sum, 'o', window.oldest, 'h', window.head)
    redis.call('PEXPIRE', window.key, window.width * (window.buckets + 2))
end

local function give_back(window, bucket, amount)
    if bucket < window.oldest then return end
    local held = tonumber(redis.call('HGET', window.key, bucket) or 0)
    local less = math.min(held, amount)
    if less > 0 then add(window, bucket, -less) end
end

-- Leaves out what has become too old.
local function slide(window)
    local oldest = window.at - window.buckets
    if window.oldest >= oldest then return end
    local gone = {}
    for bucket = window.oldest, math.min(oldest - 1, window.head) do gone[#gone + 1] = bucket end
    if #gone > 0 then
        for _, amount in ipairs(redis.call('HMGET', window.key, unpack(gone))) do
            window.sum = window.sum - (tonumber(amount) or 0)
        end
        redis.call('HDEL', window.key, unpack(gone))
    end
    window.oldest = oldest
    redis.call('HSET', window.key, 's', window.sum, 'o', oldest, 'h', window.head)
end

-- A clock that was set back: a little is waited for, else all counts as taken now.
local function set_back(window)
    if window.head - window.at <= 2 then
        window.at = window.head
        return
    end
    redis.call('DEL', window.key)
    window.head, window.oldest = window.at, window.at
    local sum = window.sum
    window.sum = 0
    if sum > 0 then add(window, window.at, sum) end
end

-- What was reserved by who says no longer that it is under way.
local function take_back(window)
    local leases = window.key .. ':r'
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, 100)) do
        local bucket, amount = string.match(member, '^(%d+):(%d+):')
        give_back(window, tonumber(bucket), tonumber(amount))
        redis.call('ZREM', leases, member)
    end
end

local function open(key, kind, width, buckets)
    local at = math.floor(now / width)
    local window = {key = key, width = width, buckets = buckets, at = at}
    window.sum, window.oldest, window.head = 0, at, at
    local stored = redis.call('HMGET', key, 's', 'o', 'h')
    if stored[1] then
        window.sum, window.oldest = tonumber(stored[1]), tonumber(stored[2])
        window.head = tonumber(stored[3])
        if at < window.head then set_back(window) end
        slide(window)
    end
    if kind == 't' then take_back(window) end
    return window
end

-- How long until so much has left the window.
local function wait_for(window, amount)
    local names = {}
    for bucket = window.oldest, window.head do names[#names + 1] = bucket end
    local left = 0
    for place, held in ipairs(redis.call('HMGET', window.key, unpack(names))) do
        left = left + (tonumber(held) or 0)
        if left >= amount then
            return (names[place] + window.buckets + 1) * window.width - now
        end
    end
    return window.width * (window.buckets + 1)
end

local function member_of(id, bucket, reserved)
    return string.format('%.0f:%.0f:%s', bucket, reserved, id)
end

local function lend(key, member)
    redis.call('ZADD', key, now + lease, member)
    redis.call('PEXPIRE', key, lease * 2)
end

local function look(check)
    local key, kind, limit, amount = KEYS[check[1]], check[2], check[3], check[4]
    if kind == 'c' then
        redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
        return {left = limit - redis.call('ZCARD', key), wait = 1000}
    end
    local window = open(key, kind, check[5], check[6])
    local look = {left = limit - window.sum, window = window, wait = -1}
    if look.left < amount and amount <= limit then
        look.wait = wait_for(window, amount - look.left)
    end
    return look
end

local function take(id, check, seen)
    local key, kind, amount = KEYS[check[1]], check[2], check[4]
    seen.left = seen.left - amount
    if kind == 'c' then
        lend(key, id)
        return
    end
    add(seen.window, seen.window.at, amount)
    if kind == 't' then lend(key .. ':r', member_of(id, seen.window.at, amount)) end
end

local function told(seen)
    local window = seen.window
    if not window then return {math.max(seen.left, 0), 0, 0} end
    local reset = window.sum > 0 and (window.head + window.buckets + 1) * window.width - now or 0
    return {math.max(seen.left, 0), window.at, reset}
end

local steps = {}

function steps.reserve(id, checks)
    local seen, refusing, wait = {}, 0, 0
    for place, check in ipairs(checks) do
        seen[place] = look(check)
        -- What can never be has the last word, then who makes one wait longest.
        if seen[place].left < check[4] then
            local longer = seen[place].wait < 0 or (wait >= 0 and seen[place].wait > wait)
            if refusing == 0 or longer then refusing, wait = place, seen[place].wait end
        end
    end
    local answer = {}
    for place, check in ipairs(checks) do
        if refusing == 0 then take(id, check, seen[place]) end
        answer[place] = told(seen[place])
    end
    return {refusing, wait, answer}
end

local function settle_window(id, check, again)
    local key, bucket, reserved, taken = KEYS[check[1]], check[5], check[6], check[7]
    local window = open(key, check[2], check[3], check[4])
    local held = redis.call('ZREM', key .. ':r', member_of(id, bucket, reserved)) == 1
    local within = math.min(taken, reserved)
    if held then
        give_back(window, bucket, reserved - within)
    elseif not again and within > 0 and bucket >= window.at - window.buckets then
        -- Its lease is over, or the server forgot it: it counts when it was asked all the same.
        bucket = math.min(bucket, window.at)
        window.oldest = math.min(window.oldest, bucket)
        add(window, bucket, within)
    end
    if taken > reserved and (held or not again) then add(window, window.at, taken - reserved) end
end

function steps.settle(id, checks, again)
    for _, check in ipairs(checks) do
        if check[2] == 'c' then
            redis.call('ZREM', KEYS[check[1]], id)
        else
            settle_window(id, check, again)
        end
    end
    return 0
end

function steps.renew(id, checks)
    for _, check in ipairs(checks) do
        local key = KEYS[check[1]]
        if check[2] == 'c' then
            lend(key, id)
        else
            local member = member_of(id, check[3], check[4])
            redis.call('ZADD', key .. ':r', 'XX', now + lease, member)
            redis.call('PEXPIRE', key .. ':r', lease * 2)
        end
    end
    return 0
end

function steps.join(id, checks)
    local key = KEYS[checks[1][1]]
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    lend(key, id)
    return redis.call('ZCARD', key)
end

local answers = {}
for place, step in ipairs(cjson.decode(ARGV[2])) do
    answers[place] = steps[step[1]](step[2], step[3], step[4])
end
return cjson.encode(answers)
