-- load.lua: what wrk sends, and one line of what came of it. SPDX-License-Identifier: MIT
--   wrk … -s load.lua URL -- METHOD COOKIE BODY FIRST
-- %ID in path or body becomes the id of a seeded copy (see seed.c), another one in each request, from the number FIRST on.
local method, cookie, body, number, path
local headers = {}

function init(args)
    method, cookie, body, number = args[1], args[2], args[3], tonumber(args[4])
    path = wrk.path
    if cookie ~= "" then headers["Cookie"] = cookie end
    if body ~= "" then headers["Content-Type"] = "application/json" else body = nil end
    if not path:find("%ID", 1, true) and not (body and body:find("%ID", 1, true)) then
        local same = wrk.format(method, path, headers, body)
        request = function() return same end
    end
end

function request()
    local id = string.format("5e00000200000000%08x", number)
    number = number + 1
    return wrk.format(method, path:gsub("%%ID", id), headers, body and body:gsub("%%ID", id) or nil)
end

function done(summary, latency)
    local e = summary.errors
    io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration,
        e.connect + e.read + e.write + e.timeout + e.status, latency:percentile(50), latency:percentile(99)))
end
