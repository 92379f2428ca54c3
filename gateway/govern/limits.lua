-- Counts what callers take: the one place that knows how much is left, by the server's own clock.
--
-- KEYS: who is there, what is known of the server, which counters' shares somebody else needs, what
-- was heard of the process that asks; then the counters that the steps name by their place.
-- ARGV[1]: how long a lease is good for without being renewed, in ms.
-- ARGV[2]: JSON, a list of steps, taken one after the other. The answer is the time and a list of
--          their results; the time alone where it was asked too late, or a later call came before.
-- ARGV[3]: which process asks; ARGV[4]: how many there are.
-- ARGV[5]: the server's memory as the process knows it: empty before it has joined.
-- ARGV[6]: until when the process waits for an answer; 0: nobody knows.
-- ARGV[7]: the number of the call, of the process's.
--
--   {"reserve", id, {{key, kind, limit, amount, width, buckets}, …}, {own, …}}
--       Takes all or nothing. -> {refusing, wait, {{remaining, bucket, reset, share}, …}, withheld}
--       refusing: 0, or the place of the counter that refuses; wait: ms until it has room, at the
--       latest; -1: never. reset: ms until the counter is as if nothing had been taken. own: {what
--       the process knows that it may take without asking, what it has taken so and not told}.
--       share: what it may take from now on. withheld: 1 where nothing but the shares of other
--       processes is in the way.
--       -> null while the processes are still telling what they let in by themselves.
--   {"spend", number, {{key, kind, limit, 0, width, buckets, {{amount, age}, …}}, …}, {own, …}}
--       Counts what the process took without asking; not again where it has heard that number.
--       -> {{remaining, bucket, reset, share}, …}; null where the server has another memory
--   {"count", id, {{key, kind, limit, amount, width, buckets, age}, …}, {own, …}}
--       Reserves for who was let in so long ago already.
--       -> null behind a "spend" that counted nothing
--   {"settle", id, {{key, kind, width, buckets, bucket, reserved, taken}, …}, again}
--       Ends a reservation. again: it may have been ended before.
--   {"renew", "", {{key, kind, {{id, bucket, reserved}, …}}, …}}
--       Says that these are still under way.
--   {"yield", "", {{key}, …}, {own, …}}
--       Gives back all but its own of the process's shares.
--   {"wanted"}
--       -> the counters whose shares somebody else needs
--   {"join", id, {{key}}, away}
--       Says that a process is there, that has heard nothing for so many ms.
--       -> {how many are, the server's memory, ms until it lets anybody in, the number of the last
--          call in which the process reserved, what that was answered, as JSON}
--   {"leave", id}
--       Says that it is no more.
--
-- Kinds: "q" counts requests and "t" tokens in a sliding window, "c" what is under way.
--
-- A window is a hash of amounts by bucket, `width` ms each: now / width, and `buckets` before it, so
-- that it never spans less than it should. s: their sum; o: the oldest that may hold something; h:
-- the newest. What of "t" is reserved stands in a sorted set beside it, by the end of its lease: a
-- process that ends without a word gives back what it had reserved. Shares stand beside it too, by
-- process, and as process:t what of each is taken; s: their sum. They are taken off what the others
-- get.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = tonumber(ARGV[1])
local process, processes, memory = ARGV[3], tonumber(ARGV[4]), ARGV[5]
local deadline, number = tonumber(ARGV[6]), tonumber(ARGV[7])
local heard = redis.call('HMGET', KEYS[4], 'call', 'spend')
local overtaken = number <= (tonumber(heard[1]) or 0)
if overtaken or (deadline > 0 and now > deadline) then return cjson.encode({now}) end
redis.call('HSET', KEYS[4], 'call', number)
redis.call('PEXPIRE', KEYS[4], 86400000)

-- As long as any process may need to tell what it let in by itself: longer than between two beats.
local telling = 3000
-- A process gives a share back when nobody has asked for a minute.
local share_life = 120000
local known = redis.call('HMGET', KEYS[2], 'memory', 'until')

local function wait_till(moment)
    local wait = (tonumber(moment) or 0) - now
    return wait > 0 and wait <= telling and wait or 0
end

local forgotten = memory ~= '' and memory ~= known[1]
local gathering = forgotten or (memory ~= '' and wait_till(known[2]) > 0)

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

-- What processes may take without asking, and of it what the others have taken; leaves out those that
-- are gone.
local function count_shares(key)
    local fields, sum, taken = redis.call('HGETALL', key .. ':e'), 0, 0
    for place = 1, #fields, 2 do
        local who, what = string.match(fields[place], '^(%x+)(:?t?)$')
        local till = who and redis.call('ZSCORE', KEYS[1], who)
        if who and who ~= process and not (till and tonumber(till) > now) then
            redis.call('HDEL', key .. ':e', fields[place])
        elseif who and what == '' then
            sum = sum + tonumber(fields[place + 1])
        elseif who and who ~= process then
            taken = taken + tonumber(fields[place + 1])
        end
    end
    redis.call('HSET', key .. ':e', 's', sum)
    return sum, taken
end

local function look(check, own)
    local key, kind, limit, amount = KEYS[check[1]], check[2], check[3], check[4]
    local seen = {wait = -1}
    if kind == 'c' then
        redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
        seen.free, seen.wait = limit - redis.call('ZCARD', key) - own[2], 1000
    else
        seen.window = open(key, kind, check[5], check[6])
        seen.free = limit - seen.window.sum - own[2]
        if seen.free < amount and amount <= limit then
            seen.wait = wait_for(seen.window, amount - seen.free)
        end
    end
    local shares = redis.call('HMGET', key .. ':e', 's', process)
    seen.shares, seen.mine = tonumber(shares[1]) or 0, tonumber(shares[2]) or 0
    seen.left = seen.free - seen.shares + seen.mine
    if seen.left < amount and amount <= seen.free then
        local taken
        seen.shares, taken = count_shares(key)
        seen.left = seen.free - seen.shares + seen.mine
        if seen.left < amount and seen.free - taken < amount then
            seen.wait = seen.window and wait_for(seen.window, amount - seen.free + taken) or 1000
        elseif seen.left < amount then
            seen.withheld, seen.wait = true, 1000
            redis.call('SADD', KEYS[3], key)
            redis.call('PEXPIRE', KEYS[3], 1000)
        end
    end
    return seen
end

-- Counts an amount of so long ago; tells whether it still is of the window.
local function count(seen, amount, age)
    local window = seen.window
    seen.bucket = window.at - math.floor(age / window.width)
    if seen.bucket < window.at - window.buckets then return false end
    seen.left, seen.free = seen.left - amount, seen.free - amount
    window.oldest = math.min(window.oldest, seen.bucket)
    add(window, seen.bucket, amount)
    return true
end

local function take(id, check, seen)
    local key, kind, amount = KEYS[check[1]], check[2], check[4]
    if kind == 'c' then
        seen.left, seen.free = seen.left - amount, seen.free - amount
        lend(key, id)
    elseif count(seen, amount, check[7] or 0) and kind == 't' then
        lend(key .. ':r', member_of(id, seen.bucket, amount))
    end
end

local function keep(shares, kept, taken, sum)
    redis.call('HSET', shares, process, kept, process .. ':t', taken, 's', sum)
end

-- What the process may take without asking from now on. What it knew of before counts until it asks
-- again: it may never hear this. Half is left to who comes: another process than is known of. Of the
-- last tenth there are no shares: it is for who asks first.
local function share_out(check, seen, own)
    local key, share = KEYS[check[1]], 0
    if memory == '' or gathering then return 0 end
    if seen.left * 10 > check[3] then share = math.floor(seen.left / math.max(processes, 2)) end
    local kept = math.max(share, own[1]) + own[2]
    if kept > 0 or seen.mine > 0 then
        keep(key .. ':e', kept, own[2], seen.shares - seen.mine + kept)
    end
    if kept > 0 then redis.call('PEXPIRE', key .. ':e', share_life) end
    return share
end

local function told(check, seen, own)
    local window, reset = seen.window, 0
    local share = share_out(check, seen, own)
    if not window then return {math.max(seen.free, 0), 0, 0, share} end
    if window.sum > 0 then reset = (window.head + window.buckets + 1) * window.width - now end
    return {math.max(seen.free, 0), seen.bucket or window.at, reset, share}
end

local steps = {}

local reserving = false

function steps.reserve(id, checks, owns)
    reserving = true
    if gathering then return cjson.null end
    local seen, refusing, wait = {}, 0, 0
    for place, check in ipairs(checks) do
        seen[place] = look(check, owns[place])
        -- What can never be has the last word, then who makes one wait longest.
        if seen[place].left < check[4] then
            local longer = seen[place].wait < 0 or (wait >= 0 and seen[place].wait > wait)
            if refusing == 0 or longer then refusing, wait = place, seen[place].wait end
        end
    end
    local answer = {}
    for place, check in ipairs(checks) do
        if refusing == 0 then take(id, check, seen[place]) end
        answer[place] = told(check, seen[place], owns[place])
    end
    local withheld = refusing > 0 and seen[refusing].withheld and 1 or 0
    return {refusing, wait, answer, withheld}
end

local spent = true

function steps.spend(spend, checks, owns)
    spent = not forgotten and tonumber(spend) > (tonumber(heard[2]) or 0)
    if forgotten then return cjson.null end
    redis.call('HSET', KEYS[4], 'spend', spend)
    local answer = {}
    for place, check in ipairs(checks) do
        local seen = look(check, owns[place])
        for _, taken in ipairs(spent and check[7] or {}) do count(seen, taken[1], taken[2]) end
        answer[place] = told(check, seen, owns[place])
    end
    return answer
end

function steps.count(id, checks, owns)
    if not spent then return cjson.null end
    local answer = {}
    for place, check in ipairs(checks) do
        local seen = look(check, owns[place])
        take(id, check, seen)
        answer[place] = told(check, seen, owns[place])
    end
    return answer
end

local function settle_window(id, check, again)
    local key, bucket, reserved, taken = KEYS[check[1]], check[5], check[6], check[7]
    local window = open(key, check[2], check[3], check[4])
    local held = not again and reserved > 0
    if check[2] == 't' then
        held = redis.call('ZREM', key .. ':r', member_of(id, bucket, reserved)) == 1
    end
    local within = math.min(taken, reserved)
    if held then
        give_back(window, bucket, reserved - within)
    elseif not again and within > 0 and bucket >= window.at - window.buckets then
        -- Its lease is over, or the server forgot it: it counts when it was asked all the same.
        bucket = math.min(bucket, window.at)
        window.oldest = math.min(window.oldest, bucket)
        add(window, bucket, within)
    end
    if taken > reserved and (held or not again or reserved == 0) then add(window, window.at, taken - reserved) end
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

-- Who counts in a window has a lease only while it is known; who is under way has one again.
function steps.renew(_, checks)
    for _, check in ipairs(checks) do
        local key, lent = KEYS[check[1]], {}
        for _, held in ipairs(check[3]) do
            lent[#lent + 1] = now + lease
            lent[#lent + 1] = check[2] == 'c' and held[1] or member_of(unpack(held))
        end
        if check[2] == 'c' then
            redis.call('ZADD', key, unpack(lent))
        else
            key = key .. ':r'
            redis.call('ZADD', key, 'XX', unpack(lent))
        end
        redis.call('PEXPIRE', key, lease * 2)
    end
    return 0
end

function steps.yield(_, checks, owns)
    for place, check in ipairs(checks) do
        local shares, taken = KEYS[check[1]] .. ':e', owns[place][2]
        local kept = owns[place][1] + taken
        local all = redis.call('HMGET', shares, 's', process)
        if all[2] then
            keep(shares, kept, taken, all[1] - all[2] + kept)
        end
    end
    return 0
end

function steps.wanted()
    return redis.call('SMEMBERS', KEYS[3])
end

-- A server that was wiped, or silent for long, lets nobody in until all have told what they let in.
function steps.join(id, checks, away)
    local key = KEYS[checks[1][1]]
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    lend(key, id)
    if not known[1] then
        known[1] = time[1] .. '.' .. time[2]
        redis.call('HSET', KEYS[2], 'memory', known[1])
    end
    local wiped = memory ~= '' and memory ~= known[1] and not known[2]
    if wiped or away > telling then
        known[2] = now + telling
        redis.call('HSET', KEYS[2], 'until', known[2])
    end
    redis.call('PEXPIRE', KEYS[2], 172800000)
    local last = redis.call('HMGET', KEYS[4], 'reserved', 'answer')
    return {
        redis.call('ZCARD', key), known[1], wait_till(known[2]), tonumber(last[1]) or 0, last[2] or ''
    }
end

-- Its shares are the others' when they need them.
function steps.leave(id)
    redis.call('ZREM', KEYS[1], id)
    return 0
end

local answers = {}
for place, step in ipairs(cjson.decode(ARGV[2])) do
    answers[place] = steps[step[1]](step[2], step[3], step[4])
end
local answer = cjson.encode({now, answers})
-- A process that never hears it takes back, on its return, what nobody waits for any more.
if reserving then redis.call('HSET', KEYS[4], 'reserved', number, 'answer', answer) end
return answer
