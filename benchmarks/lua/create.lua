-- Creates customers by the documented body; no e-mail and no Idempotency-Key ever comes twice.
-- Argument: a word of this run's own.
dofile(os.getenv("BENCHMARK_SUMMARY"))

local number, run = 0, ""

function init(args)
  run = args[1]
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  number = number + 1
  local name = run .. "." .. number
  wrk.headers["Idempotency-Key"] = name
  return wrk.format(nil, "/user", nil,
    '{"email":"' .. name .. '@example.com","firstName":"Jane","lastName":"Doe","phone":"+1-555-0123",'
    .. '"tags":["referral"],"metadata":{"source":"partner-campaign"}}')
end
