-- Every other request posts JSON, texts of 1 KiB to 128 KiB; the others read as many bytes.
local sizes = { 1, 3, 8, 20, 50, 128 }
local bodies = {}
for i, size in ipairs(sizes) do
    local text = string.rep("x", size * 256)
    bodies[i] = '[' .. string.rep('{"text":"' .. text .. '"},', 3) .. '{"text":"' .. text .. '"}]'
end
local n = 0

request = function()
    n = n + 1
    local which = math.floor(n / 2) * 5 % #sizes + 1
    if n % 2 == 0 then
        return wrk.format("POST", "/", { ["Content-Type"] = "application/json" }, bodies[which])
    end
    return wrk.format("GET", "/" .. sizes[which] * 1024)
end
