-- What wrk sends, and what it notes. Rules of this file: one connection a thread, so that a request and its answer are
-- of the same thread and the time between them is exact. (wrk's own percentiles are not used: it adds samples that it
-- thinks were omitted.) Thread i of n sends the plan's lines i, i + n, …; every answer's status is noted, and that of a
-- GET (200) which lacks the value is noted as 0, that of a 503 which lacks Retry-After as 1. A plan that is not repeated ends
-- the run once no thread has anything left, so nothing is under way then. With a pace each thread sends one request every
-- so many seconds, or at once when it is late.
local ffi = require("ffi")
ffi.cdef [[
typedef struct { long seconds; long nanoseconds; } bench_time;
int clock_gettime(int clock, bench_time *time);
int getpid(void);
int kill(int pid, int signal);
]]
local MONOTONIC, SIGINT = 1, 2
local time = ffi.new("bench_time")

local function now()
   ffi.C.clock_gettime(MONOTONIC, time)
   return tonumber(time.seconds) * 1e6 + tonumber(time.nanoseconds) / 1e3
end

-- A byte for each thread, which it sets when it has nothing left. Threads share no Lua values, so they are given the
-- address of the bytes that `setup` made.
local idle = ffi.new("unsigned char[?]", 1024)
local threads = {}

function setup(thread)
   thread:set("index", #threads)
   thread:set("idle_at", tonumber(ffi.cast("uintptr_t", idle)))
   table.insert(threads, thread)
end

function init(args)
   local plan = assert(io.open(args[1]))
   repeats, count = args[2] == "repeat", tonumber(args[3])
   method, content_type, prefix, tail = plan:read(), plan:read(), plan:read(), plan:read()
   if content_type ~= "" then wrk.headers["Content-Type"] = content_type end
   numbers, paths, heads = {}, {}, {}
   local number = 0
   for line in plan:lines() do
      if repeats or number % count == index then
         local path, head = line:match("^(%S+)\t(%S+)$")
         table.insert(numbers, number)
         table.insert(paths, path)
         table.insert(heads, head)
      end
      number = number + 1
   end
   plan:close()
   pace = tonumber(args[4]) * 1e6
   if pace > 0 then
      function delay()
         -- Threads begin at different times, or all would send in the same moment.
         due = due or now() + pace * index / count
         local left = due - now()
         due = math.max(due, now() - pace) + pace
         return math.max(0, math.floor(left / 1e3 + 0.5))
      end
   end
   idle = ffi.cast("unsigned char *", ffi.cast("uintptr_t", idle_at))
   sent, noted, first, last = 0, {}, 0, 0
   -- wrk has thread 0 make one request, looks at it and does not send it.
   is_trial = index == 0
end

function request()
   if is_trial then
      is_trial = false
      return wrk.format("GET")
   end
   sent = sent + 1
   current = repeats and (sent + index) % #paths + 1 or math.min(sent, #paths)
   local body = method ~= "GET" and prefix .. heads[current] .. tail or nil
   local bytes = wrk.format(method, paths[current], nil, body)
   began = now()
   if first == 0 then first = began end
   return bytes
end

function response(status, headers, body)
   last = now()
   if method == "GET" and status == 200 and not body:find(heads[current], 1, true) then status = 0 end
   if status == 503 and not headers["retry-after"] then status = 1 end
   noted[#noted + 1] = string.format("%d %d %d", numbers[current], status, last - began)
   if not repeats and sent >= #paths then
      idle[index] = 1
      wrk.thread:stop()
      for thread = 0, count - 1 do
         if idle[thread] == 0 then return end
      end
      ffi.C.kill(ffi.C.getpid(), SIGINT)
   end
end

-- This runs in a state of its own, to which only `setup` has given anything.
function done(summary)
   local errors, from, to, lines = summary.errors, math.huge, 0, {}
   for _, thread in ipairs(threads) do
      if thread:get("last") > 0 then
         from, to = math.min(from, thread:get("first")), math.max(to, thread:get("last"))
      end
      for _, line in ipairs(thread:get("noted")) do table.insert(lines, line) end
   end
   io.write("\nBENCH ", string.format("%d %d", errors.connect + errors.read + errors.write, math.max(to - from, 0)), "\n")
   for _, line in ipairs(lines) do io.write("BENCH ", line, "\n") end
end
