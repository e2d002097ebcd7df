-- Orders for wrk: POST /api/orders with a new key each, or replays of keys that were sent before.
--
-- Environment variables:
--   ORDERS_URLS    base URLs of the replicas, separated by spaces; wrk's n-th thread sends to the n-th
--   ORDERS_TOKEN   the operator's token, which is exempt from rate limits
--   ORDERS_PREFIX  prefix of the keys; the thread's number and a count from 1 follow
--   ORDERS_ITEMS   0: item `hot` only; N: item-0 to item-(N-1), with equal probability
--   ORDERS_SEED    seed of the choice of items
--   ORDERS_KNOWN   0: new keys; N: the first N keys of each thread, repeatedly
--
-- Prints a line of JSON at the end, which tests/benchmarks/wrk.py parses.

local threads = {}

local function reachable(url)
  local host, port = url:match("^http://([^:]+):(%d+)$")
  for _, address in ipairs(wrk.lookup(host, port)) do
    if wrk.connect(address) then return address end
  end
end

function setup(thread)
  local urls = {}
  for url in os.getenv("ORDERS_URLS"):gmatch("%S+") do table.insert(urls, url) end
  thread.addr = reachable(urls[#threads % #urls + 1])
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init()
  prefix = os.getenv("ORDERS_PREFIX") .. number .. "-"
  items, known = tonumber(os.getenv("ORDERS_ITEMS")), tonumber(os.getenv("ORDERS_KNOWN"))
  math.randomseed(tonumber(os.getenv("ORDERS_SEED")) + number)
  sent = number == 0 and -1 or 0 -- wrk requests one extra request of its first thread and never sends it
  statuses, replayed = {}, 0
  headers = { ["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. os.getenv("ORDERS_TOKEN") }
end

function request()
  sent = sent + 1
  local item = items > 0 and "item-" .. math.random(0, items - 1) or "hot"
  headers["Idempotency-Key"] = prefix .. (known > 0 and (sent - 1) % known + 1 or sent)
  return wrk.format("POST", "/api/orders", headers, '{"item_id":"' .. item .. '","quantity":1}')
end

function response(status, answered)
  statuses[status] = (statuses[status] or 0) + 1
  if answered["idempotent-replayed"] then replayed = replayed + 1 end
end

local function added_up()
  local total, again, parts = {}, 0, {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("statuses")) do total[status] = (total[status] or 0) + count end
    again = again + thread:get("replayed")
  end
  for status, count in pairs(total) do table.insert(parts, ('"%d":%d'):format(status, count)) end
  return table.concat(parts, ","), again
end

function done(summary, latency)
  local by_status, again = added_up()
  local errors = summary.errors
  local unanswered = errors.connect + errors.read + errors.write + errors.timeout
  local line = '{"requests":%d,"micros":%d,"p50":%d,"p95":%d,"p99":%d,"statuses":{%s},"replayed":%d,"unanswered":%d}\n'
  local p50, p95, p99 = latency:percentile(50), latency:percentile(95), latency:percentile(99)
  io.write(line:format(summary.requests, summary.duration, p50, p95, p99, by_status, again, unanswered))
end
