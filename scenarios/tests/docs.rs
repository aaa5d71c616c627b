//! The documents say what the code says: `docs/CHECKS.md` is made from the registry and the defect matrix, and links of
//! all documents lead somewhere.
//!
//! After a change of checks or defects: `UNBROKEN_BLESS=1 cargo test -p unbroken-scenarios --test docs`.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use unbroken::check::{CHECKS, Check};
use unbroken::report::wording;
use unbroken::selftest::Matrix;
use unbroken_reference::defect;

/// The plan: how many requirements each area of the catalogue is to have. An area is done when the code has as many.
const PLAN: &[(&str, usize, &str)] = &[
    ("detach", 7, "becoming a daemon: orphaned, new session, no terminal"),
    ("fd", 7, "descriptors: detached, usable, none inherited, close-on-exec"),
    ("inherit", 9, "one polluted thing per run: mask, dispositions, umask, environment"),
    ("pidfile", 15, "content, mode, locking, stale files, upgrades"),
    ("ready", 9, "readiness and exit status"),
    ("life", 8, "signals, logs, ending"),
    ("supervise", 10, "under real nohup, supervisord and systemd"),
    ("handoff", 17, "new connections"),
    ("drain", 20, "old connections"),
    ("rollback", 9, "a new version that is bad"),
    ("trigger", 8, "the button pressed in odd ways"),
    ("leak", 5, "after many upgrades"),
    ("datagram, tls", 4, "UDP flows, TLS handshakes"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

/// A document whose text is made by the code: equal, or written anew when asked.
fn holds(path: &str, want: &str) {
    let path = root().join(path);
    if std::env::var_os("UNBROKEN_BLESS").is_some_and(|it| it == "1") {
        fs::write(&path, want).expect("the document is writable");
    }
    let got = fs::read_to_string(&path).unwrap_or_default();
    assert!(got == want, "{} is stale: UNBROKEN_BLESS=1 cargo test -p unbroken-scenarios --test docs", path.display());
}

fn area(check: &Check) -> &'static str {
    check.id.split('/').next().expect("a split has a first part")
}

/// Text for a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn checks() -> String {
    let mut page = String::from(
        "# Checks\n\nMade from the code: `UNBROKEN_BLESS=1 cargo test -p unbroken-scenarios --test docs` writes this page, and \
         the same test\nwithout it fails while the page is stale. `unbroken explain ID` prints the same for one check.\n\n",
    );
    let write = &mut page;
    let _ = writeln!(write, "| check | level | requirement |\n|---|---|---|");
    for check in CHECKS {
        let anchor = check.id.replace('/', "");
        let _ = writeln!(write, "| [{}](#{anchor}) | {} | {} |", check.id, check.level, cell(check.requirement));
    }
    for check in CHECKS {
        one(write, check);
    }
    page
}

fn one(page: &mut String, check: &Check) {
    let _ = writeln!(page, "\n## {}\n\n**{}** {}\n", check.id, check.level, check.requirement);
    let _ = writeln!(page, "- owed by: {}", wording::owed_by(check));
    let _ = writeln!(page, "- source: {}", check.source);
    if !check.reports.is_empty() {
        let _ = writeln!(page, "- went wrong in: {}", check.reports.join("; "));
    }
    let _ = writeln!(page, "- observed: {}", check.observed);
    for witness in check.needs {
        let _ = writeln!(page, "- a pass needs: {}", wording::witness(*witness));
    }
    if let Some(why) = check.unproven_bare {
        let _ = writeln!(page, "- tier C cannot prove it: {why}");
    }
    if check.chance {
        let _ = writeln!(page, "- chance decides whether a run shows it: repeat with `--runs N`");
    }
    for row in defect::all().filter(|row| row.catches == check.id) {
        let _ = writeln!(page, "- must catch `--defect {}`: {}", row.name, row.bug);
    }
}

fn matrix() -> String {
    let matrix: Matrix = toml::from_str(unbroken_scenarios::MATRIX).expect("the matrix is valid");
    let mut page = String::from(
        "# The defect matrix\n\nMade from the code, as [CHECKS.md](CHECKS.md) is. Each row switches one deliberate bug of a \
         reference on and runs one scenario.\nWhat must fail has to fail every time; every check of the scenario that a row \
         does not name must pass.\n`unbroken selftest` runs all rows, the clean references (all must pass) and the null \
         targets (none may).\n\n| defect | target | scenario | must fail | may fail, because | must not be decided |\n\
         |---|---|---|---|---|---|\n",
    );
    for row in &matrix.row {
        let may: Vec<String> = row.may_fail.iter().map(|(check, why)| format!("{check}: {why}")).collect();
        let cells = [
            row.defect.clone(),
            row.target.clone(),
            row.scenario.clone(),
            row.must_fail.join(", "),
            may.join("; "),
            row.withheld.join(", "),
        ];
        let _ = writeln!(page, "| {} |", cells.map(|it| cell(&it)).join(" | "));
    }
    page
}

/// What exists of what is planned, area by area.
fn status() -> String {
    let mut table = String::from("| area | what it is about | exist | planned |\n|---|---|---|---|\n");
    let (mut exist, mut planned) = (0, 0);
    for (name, plan, about) in PLAN {
        let here = CHECKS.iter().filter(|check| name.split(", ").any(|it| it == area(check))).count();
        assert!(here <= *plan, "{name} has more checks than planned: say so in PLAN");
        (exist, planned) = (exist + here, planned + plan);
        let _ = writeln!(table, "| {name} | {about} | {here} | {plan} |");
    }
    let _ = writeln!(table, "| all | | {exist} | {planned} |");
    table
}

#[test]
fn the_page_of_checks_is_what_the_registry_says() {
    holds("docs/CHECKS.md", &checks());
}

#[test]
fn the_page_of_the_matrix_is_what_the_matrix_says() {
    holds("docs/MATRIX.md", &matrix());
}

#[test]
fn the_readme_tells_how_much_of_the_plan_exists() {
    let readme = fs::read_to_string(root().join("README.md")).expect("there is a README");
    let (begin, end) = ("<!-- status: made by scenarios/tests/docs.rs -->\n", "<!-- end of status -->");
    let (before, rest) = readme.split_once(begin).expect("the README has a status table");
    let (_, after) = rest.split_once(end).expect("the status table ends");
    holds("README.md", &format!("{before}{begin}{}{end}{after}", status()));
}

#[test]
fn every_area_is_planned() {
    for check in CHECKS {
        assert!(PLAN.iter().any(|(name, ..)| name.split(", ").any(|it| it == area(check))), "{}", check.id);
    }
}

/// The relative targets of Markdown links.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(link, _)| link))
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    let mut pages = vec![root().join("README.md"), root().join("CHANGELOG.md"), root().join("reference/README.md")];
    let docs = fs::read_dir(root().join("docs")).expect("there are documents");
    pages.extend(docs.map(|entry| entry.expect("an entry is readable").path()));
    for page in pages.iter().filter(|page| page.extension().is_some_and(|it| it == "md")) {
        let text = fs::read_to_string(page).expect("a document is readable");
        for link in links(&text).filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let file = link.split('#').next().expect("a split has a first part");
            let there = page.parent().expect("a page lies in a directory").join(file);
            assert!(there.exists(), "{}: {link} leads nowhere", page.display());
        }
    }
}
