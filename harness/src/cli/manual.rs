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
follow each other.

EXAMPLES
  unbroken judge target/unbroken/*/nginx/usr2/restart/upgrade-under-load-1
  unbroken judge RUN --strict --json

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
