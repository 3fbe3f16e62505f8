-- One request; see the scripts of wrk for requests that differ.
wrk.method = "GET"
wrk.path = "/books"
wrk.headers["Authorization"] = "Bearer " .. (os.getenv("TOKEN") or "")
