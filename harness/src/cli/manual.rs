//! The longer texts of `--help`.

/// For the command as a whole.
pub(super) const UNBROKEN: &str = "\
EXAMPLES
  unbroken check                              the reference servers: does the suite work here?
  unbroken check nginx                        every way of restarting nginx that the suite knows
  unbroken check my-server.toml               a server of your own, by its manifest
  unbroken doctor my-server.toml              can it be judged, and would a bad restart be seen?
  unbroken matrix                             all targets side by side
  unbroken list                               targets, scenarios, checks, and what is missing here
  unbroken explain handoff/no-refused         what is required, by whom, and how it is observed

EXIT CODES
  0  everything as expected                   4  nothing was selected
  1  an unexpected verdict                    5  a target does not work without any restart
  2  wrong usage, or an unusable manifest     6  the harness or its environment broke
  3  nothing failed, but not everything       70 a bug of unbroken itself
     could be judged
  Where several apply: 70, 2, 4, 5, 1, 6, 3. An interrupted command dies of its signal.";

/// For `check`.
pub(super) const CHECK: &str = "\
ARGUMENTS
  Each word is, in this order:
    FILE.toml            a manifest of your own (unbroken schema manifest describes it)
    nginx, nginx/hup     a target, or all under a prefix
    restart/             scenarios
    handoff/no-refused   a check, or all of an area
  Without a target the references are checked; without a scenario the core ones are run.

WHAT IT DOES
  Starts each target in a sandbox of its own, loads it without pause, restarts it under that load,
  watches the kernel's side of it, stops it, and judges what was recorded. A verdict is pass,
  inconclusive (the run did not give the evidence), error (the harness broke; says nothing of the
  target) or fail. Runs are repeated, never retried.

EXAMPLES
  unbroken check my-server.toml
  unbroken check nginx/usr2 --expect none     show known failures as failures
  unbroken check handoff/ --runs 20           only new connections, twenty times
  unbroken check reference/takeover --soak 500
                                              500 upgrades in a row: does anything grow with each?
  unbroken check --report json=report.json --require-all --progress plain
  unbroken check --report junit=report.xml    for continuous integration: one case per check and
                                              scenario; known failures are no failures there

EXIT CODES
  0 as expected · 1 unexpected verdict · 2 usage or manifest · 3 only inconclusive, or unavailable
  with --require-all · 4 nothing selected · 5 broken without any restart · 6 environment · 70 a bug
  of unbroken. SIGINT and SIGTERM take everything down and end the command by that signal; a second
  one ends it at once, and a guardian takes down the rest.

ENVIRONMENT
  UNBROKEN_REQUIRE_ALL=1  the same as --require-all
  NO_COLOR                no colour, as --colour never
  Nothing of the environment reaches a target: its PATH is always the system's own.

FILES
  target/unbroken/        run directories, below the Cargo workspace, or below the current
                          directory if it has a Cargo.toml
  unbroken-runs/          run directories elsewhere
    plan.json, events.jsonl.gz, requests.jsonl.gz, account.json   the history (zcat reads it)
    verdicts.json                                                 what was judged
    target/                                                       the target's own files and logs
  Directories of passed runs are removed unless --keep is given.";

/// For `bench`.
pub(super) const BENCH: &str = "\
WHAT IT DOES
  Makes upgrades in a row of each target under the same load (restart/sequential), the targets in turn,
  for several rounds, and shows their figures beside each other: handoff, accept gap, overlap of the two
  generations, latency of fresh requests during an upgrade, drain, memory. A figure is the median of all upgrades with the interval in
  which that median lies at 95 % confidence, and the worst one. With --against each is also a ratio to the
  best of those targets, with its interval. A benchmark judges nobody: `unbroken check` does.
  A handoff ends with an answer, and somebody asks every 3 ms: the triggers meet that schedule in phases by chance, for all targets alike.
  What clients see around the triggers, 10 ms by 10 ms, is in the JSON report, and --plot draws it.
  Give the machine to it alone. What the machine adds stands in the report as noise.

EXAMPLES
  unbroken bench nginx haproxy/master-worker
  unbroken bench my-server.toml --against reference/takeover
  unbroken bench reference/exec-inherit reference/takeover --against tableflip,ecdysis,shellflip \\
      --rounds 10 --report json=bench.json --report markdown=bench.md --plot bench.svg

EXIT CODES
  0 measured · 2 usage or manifest · 3 a target could not be run here · 4 none could · 6 environment ·
  70 a bug of unbroken";

/// For `load`.
pub(super) const LOAD: &str = "\
WHAT IT DOES
  Sends GET requests over many connections from one thread, and accounts for every one of them: none is
  sent again, and one that fails gets the class that the kernel's own account of it proves.
    refused, handshake-reset, connect-timeout   there was no connection
    dropped, closed-before-first-byte           a new connection was lost
    crossed, unread, taken                      a kept connection ended under a request: its FIN crossed
                                                the request, the request lay unread in the server's
                                                queue, or it was read and not answered
    hung, truncated, wrong-answer, server-error, unsolicited-answer
    harness-fault                               we lacked ports or descriptors: the server did nothing
  Without --rate the server sets the pace (closed loop), and a slow answer delays the next request.
  With --rate requests have instants of their own (open loop), and latency counts from there: also what
  waits for a free connection is waiting. Lateness is what we ourselves add to that.
  A request that failed is followed by the next one after 1 ms in a closed loop.
  Those in flight at the end are waited for, and none is discarded.
  With --application a client of the kind that programs use makes requests beside it. What the kernel saw
  lost and that client does not tell, it has hidden: by the counters of this network namespace, where other
  connections count too.

EXAMPLES
  unbroken load http://127.0.0.1:8080/ --duration 30s       as fast as it can, while you restart
  unbroken load http://127.0.0.1:8080/ --rate 2000 --fresh  2000 new connections a second
  unbroken load http://127.0.0.1:8080/ --fresh --sources 4  as many new connections as it can
  unbroken load http://127.0.0.1:8080/ --json --histogram times.hlog
  unbroken load http://127.0.0.1:8080/ --rate 20000 --record run.load && unbroken judge run.load

EXIT CODES
  0 everything was answered · 1 something was lost · 2 usage · 6 our own resources were lacking · 70 a
  bug of unbroken. SIGINT and SIGTERM end the load early, with its report; a second one ends it at once.";

/// For `doctor`.
pub(super) const DOCTOR: &str = "\
Before you believe a verdict on a server of yours, see that the suite can judge it at all.

WHAT IT DOES
  manifest    reads it for what it could say and does not: advice, with the key and the fix. Advice
              changes no exit code.
  baseline    starts the target, loads it without any restart, stops it, and looks for leftovers.
  no-restart  restarts it by doing nothing, under load. That must not pass.
  stop-start  stops it and starts it anew, under load. That must not pass: for a while nobody listens.
              (One whose sockets are kept by somebody else may rightly pass it.)
  The controls are run when the baseline is good and the target claims the profile restart.

EXAMPLES
  unbroken doctor my-server.toml
  unbroken doctor nginx/hup --json | jq '.advice'
  unbroken doctor my-server.toml --report junit=doctor.xml

EXIT CODES
  0 it can be judged · 1 it leaves something behind, or a control passed · 2 usage or manifest ·
  3 it could not be told (undecided, or this machine lacks something) · 5 it does not work without
  any restart · 6 environment · 70 a bug of unbroken

ENVIRONMENT, FILES
  As of `check`.";

/// For `judge`.
pub(super) const JUDGE: &str = "\
RUN is a run's directory, as reports name it in their history lines. Nothing is started: the verdicts
come from the recorded history alone, and are the same byte for byte. With several RUNs the reports
follow each other. A file that `load --record` wrote is judged too: its requests are held against what
the driver counted (6 where the two do not agree), and outages and the longest silence are told.

EXAMPLES
  unbroken judge target/unbroken/*/nginx/usr2/restart/upgrade-under-load-1
  unbroken judge RUN --strict --json
  unbroken judge run.load

EXIT CODES
  As of `check`: the one that takes precedence over all RUNs.";

/// For `list`.
pub(super) const LIST: &str = "\
EXAMPLES
  unbroken list                 everything
  unbroken list checks          only the checks
  unbroken list --json | jq -r '.targets[] | select(.available) | .name'

EXIT CODES
  0 · 2 usage";

/// For `explain`.
pub(super) const EXPLAIN: &str = "\
ID is a check, an area of checks, a scenario or a target, as `unbroken list` shows them.

EXAMPLES
  unbroken explain handoff/listener-continuity
  unbroken explain drain
  unbroken explain restart/upgrade-under-load
  unbroken explain nginx/usr2

EXIT CODES
  0 · 2 no such id (the nearest one is suggested)";

/// For `matrix`.
pub(super) const MATRIX: &str = "\
WHAT IT DOES
  Runs every scenario (--core: the core ones) against every target, as `check --full` does, and shows
  the targets side by side: a line per check, a column per target, and below it what is known to fail
  and why. It takes a quarter of a minute and more per target; name targets, scenarios or checks to
  have less. What this machine lacks is said to be unavailable.

EXAMPLES
  unbroken matrix                                       everything that runs here
  unbroken matrix nginx reference/ restart/             some targets, restarts only
  unbroken matrix handoff/ --report markdown=matrix.md --report json=matrix.json

EXIT CODES
  As those of unbroken check.";

/// For `selftest`.
pub(super) const SELFTEST: &str = "\
Proof that every check can fail: each deliberate defect of the references must be caught by its check
in every run, the clean references must pass in every run, and the null targets, which only pretend,
must never pass.

ROW is a defect, a target, a scenario or a check; without one everything is tested.

EXAMPLES
  unbroken selftest
  unbroken selftest --runs 20 --hog --json > selftest.json
  unbroken selftest handoff/listener-continuity --runs 100

EXIT CODES
  0 everything is as it must be · 1 something is not · 2 usage · 6 environment · 70 a bug of unbroken

FILES
  As of `check`.";

/// For `schema`.
pub(super) const SCHEMA: &str = "\
EXAMPLES
  unbroken schema manifest > manifest.schema.json
  In the first line of a manifest, for editors:  #:schema ./manifest.schema.json

EXIT CODES
  0 · 2 usage";
