-- Changes customers: each time another telephone number.
-- Arguments: a word of this run's own, a file with a path per line.
dofile(os.getenv("BENCHMARK_SUMMARY"))

local number, run, paths = 0, "", {}

function init(args)
  run = args[1]
  for path in io.lines(args[2]) do paths[#paths + 1] = path end
  wrk.method = "PUT"
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  number = number + 1
  wrk.headers["Idempotency-Key"] = run .. "." .. number
  return wrk.format(nil, paths[number % #paths + 1], nil,
    '{"phone":"+1-555-' .. string.format("%07d", number) .. '"}')
end
