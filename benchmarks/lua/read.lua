-- Asks for paths at random. Arguments: a seed, a file with a path per line.
dofile(os.getenv("BENCHMARK_SUMMARY"))

local requests = {}

function init(args)
  math.randomseed(tonumber(args[1]))
  for path in io.lines(args[2]) do requests[#requests + 1] = wrk.format("GET", path) end
end

function request()
  return requests[math.random(#requests)]
end
