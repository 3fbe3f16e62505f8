# Reads a JTL (CSV with a header), prints `atq: samples` lines, and writes the elapsed times, one per line, to the file
# `times`. Variables: remotes (a,b,c), times, sums (file for the totals).

# Splits a complete record into f[]; quotes inside quoted fields are doubled.
function split_record(record, f,    n, i, c, quoted, field) {
  if (index(record, "\"") == 0) return split(record, f, ",")
  n = 0; field = ""; quoted = 0
  for (i = 1; i <= length(record); i++) {
    c = substr(record, i, 1)
    if (c == "\"") {
      if (quoted && substr(record, i + 1, 1) == "\"") { field = field c; i++ }
      else quoted = !quoted
    } else if (c == "," && !quoted) { f[++n] = field; field = "" }
    else field = field c
  }
  f[++n] = field
  return n
}

# JMeter prefixes thread names with the worker's address: `10.0.1.5-users 1-1`.
function worker_of(thread,    i) {
  for (i = 1; i <= known; i++)
    if (index(thread, remote[i] "-") == 1) return remote[i]
  return "unknown"
}

BEGIN { known = split(remotes, remote, ","); printf "" > times }

# A failure message may contain line breaks: a record is complete when its number of quotes is even.
{
  sub(/\r$/, "")
  record = open ? record "\n" $0 : $0
  open = gsub(/"/, "\"", record) % 2
  if (open) next
}

!header {
  n = split_record(record, f)
  for (i = 1; i <= n; i++) column[f[i]] = i
  header = 1
  next
}

record != "" {
  split_record(record, f)
  started = f[column["timeStamp"]] + 0
  elapsed = f[column["elapsed"]] + 0
  worker = worker_of(f[column["threadName"]])
  failed = f[column["success"]] != "true"
  count[worker]++; errors[worker] += failed; host[worker] = f[column["Hostname"]]
  total++; bad += failed; sum += elapsed
  if (total == 1 || started < first) first = started
  if (started + elapsed > last) last = started + elapsed
  print elapsed > times
}

END {
  for (i = 1; i <= known; i++) {
    w = remote[i]
    printf "atq: samples worker=%s host=%s count=%d errors=%d\n", w, (w in host ? host[w] : "-"), count[w], errors[w]
    if (!count[w]) idle++
  }
  if (count["unknown"]) printf "atq: samples worker=unknown host=- count=%d errors=%d\n", count["unknown"], errors["unknown"]
  seconds = (last - first) / 1000
  printf "%d %d %.1f %.0f %d\n", total, bad, (seconds > 0 ? total / seconds : 0), (total ? sum / total : 0), idle > sums
}
