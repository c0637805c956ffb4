-- Asks the gate about a request. Leaves what it says in txn.detector_status, _action and _retry_after.
local GATE = "http://127.0.0.1:9479/auth" -- `listen detector_gate` of haproxy.cfg
local PATIENCE_MS = 500

core.register_action("detector", { "http-req" }, function(txn)
    local headers = txn.http:req_get_headers()
    local asked = { ["x-forwarded-uri"] = { txn.f:pathq() } }
    if headers["x-client-id"] ~= nil then
        asked["x-client-id"] = { headers["x-client-id"][0] }
    end
    local client = core.httpclient()
    local answer = client:get({ url = GATE, headers = asked, timeout = PATIENCE_MS })
    txn:set_var("txn.detector_status", answer.status)
    local action = answer.headers and answer.headers["x-detector-action"]
    if action ~= nil then
        txn:set_var("txn.detector_action", action[0])
    end
    local wait = answer.headers and answer.headers["retry-after"]
    if wait ~= nil then
        txn:set_var("txn.detector_retry_after", wait[0])
    end
end)
