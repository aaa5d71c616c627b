//! What the words of the command line select.
//!
//! A word is, in this order: a manifest file of the user's own, a target or several by prefix, a scenario or several by
//! prefix, a check or its area. Prefixes end at a slash: `nginx` is `nginx/hup` and `nginx/usr2`, not `nginx-like`.

use std::path::{Path, PathBuf};

use super::failure::Failure;
use crate::catalogue::Catalogue;
use crate::check::CHECKS;
use crate::manifest::Role;
use crate::scenario::Scenario;

/// What was asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted<'a> {
    /// Words that select targets, scenarios or checks.
    pub(super) words: &'a [String],
    /// Checks to judge.
    pub(super) run: &'a [String],
    /// Checks to leave out.
    pub(super) skip: &'a [String],
    /// All scenarios, not only the core ones.
    pub(super) full: bool,
    /// Where no word names a target: all of these roles.
    pub(super) roles: &'a [Role],
}

/// A null target is no server: it shows whether the suite can fail.
pub(super) const ALL_BUT_NULL: &[Role] = &[Role::Reference, Role::Control, Role::Peer];

/// What it comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selection {
    /// Manifests of the user's own.
    pub(super) files: Vec<PathBuf>,
    /// Names of embedded targets.
    pub(super) targets: Vec<String>,
    /// Scenarios.
    pub(super) scenarios: Vec<Scenario>,
    /// Ids or areas of checks to judge; empty for all.
    pub(super) run: Vec<String>,
    /// Ids or areas of checks to leave out.
    pub(super) skip: Vec<String>,
    /// No check was left out by a selector.
    pub(super) complete: bool,
}

/// The name is the prefix, or begins with it and a slash.
pub(super) fn under(name: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Finds what the words mean.
pub(super) fn select(
    wanted: Wanted<'_>,
    catalogue: &Catalogue,
    is_file: &dyn Fn(&Path) -> bool,
) -> Result<Selection, Failure> {
    let mut found = Found { run: checked(wanted.run)?, ..Found::default() };
    for word in wanted.words {
        found.word(word, catalogue, is_file)?;
    }
    let skip = checked(wanted.skip)?;
    if found.files.is_empty() && found.targets.is_empty() {
        let asked = catalogue.targets.iter().filter(|target| wanted.roles.contains(&target.role));
        found.targets = asked.map(|target| target.name.clone()).collect();
    }
    let scenarios = scenarios(&found, catalogue, wanted.full);
    let judged = |id: &String| selects(&found.run, id) && !skip.iter().any(|it| under(id, it));
    if !scenarios.iter().any(|it| it.script().checks.iter().any(judged)) {
        let text = "nothing is selected: none of these scenarios judges any of these checks";
        return Err(Failure::NothingSelected(text.to_owned()));
    }
    Ok(Selection {
        complete: found.run.is_empty() && skip.is_empty(),
        files: found.files,
        targets: found.targets,
        scenarios,
        run: found.run,
        skip,
    })
}

/// What the words have named so far.
#[derive(Default)]
struct Found {
    files: Vec<PathBuf>,
    targets: Vec<String>,
    scenarios: Vec<String>,
    run: Vec<String>,
}

impl Found {
    fn word(&mut self, word: &str, catalogue: &Catalogue, is_file: &dyn Fn(&Path) -> bool) -> Result<(), Failure> {
        let path = Path::new(word);
        if path.extension().is_some_and(|it| it == "toml") {
            if !is_file(path) {
                return Err(Failure::Usage(format!("there is no manifest file `{word}`")));
            }
            self.files.push(path.to_owned());
            return Ok(());
        }
        let targets = || catalogue.targets.iter().map(|it| it.name.as_str());
        let scenarios = || catalogue.scenarios.iter().map(|it| it.script().name.as_str());
        let checks = || CHECKS.iter().map(|it| it.id);
        if targets().any(|name| under(name, word)) {
            self.targets.extend(targets().filter(|name| under(name, word)).map(str::to_owned));
        } else if scenarios().any(|name| under(name, word)) {
            self.scenarios.extend(scenarios().filter(|name| under(name, word)).map(str::to_owned));
        } else if checks().any(|id| under(id, word)) {
            self.run.push(word.to_owned());
        } else {
            let all = targets().chain(scenarios()).chain(checks());
            return Err(Failure::unknown("target, scenario or check", word, all.clone().chain(areas(all))));
        }
        Ok(())
    }
}

/// The first parts of names, which select as prefixes.
fn areas<'a>(names: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    names.filter_map(|name| name.split_once('/').map(|(area, _)| area))
}

/// The words, each of which must name a check or an area.
fn checked(words: &[String]) -> Result<Vec<String>, Failure> {
    let ids = || CHECKS.iter().map(|it| it.id);
    match words.iter().find(|word| !ids().any(|id| under(id, word))) {
        Some(word) => Err(Failure::unknown("check", word, ids().chain(areas(ids())))),
        None => Ok(words.to_vec()),
    }
}

fn selects(run: &[String], id: &str) -> bool {
    run.is_empty() || run.iter().any(|it| under(id, it))
}

/// The named scenarios; else the core ones, or all with `full`. A check that no core scenario judges brings those that do.
fn scenarios(found: &Found, catalogue: &Catalogue, full: bool) -> Vec<Scenario> {
    let judges = |scenario: &Scenario| scenario.script().checks.iter().any(|id| selects(&found.run, id));
    let named = |scenario: &Scenario| found.scenarios.contains(&scenario.script().name);
    let pick = |keep: &dyn Fn(&Scenario) -> bool| -> Vec<Scenario> {
        catalogue.scenarios.iter().filter(|it| keep(it) && judges(it)).cloned().collect()
    };
    if !found.scenarios.is_empty() {
        return pick(&named);
    }
    let core = pick(&|it| full || it.script().core);
    if core.is_empty() { pick(&|_| true) } else { core }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn selected(words: &[&str]) -> Result<Selection, Failure> {
        let words = owned(words);
        let wanted = Wanted { words: &words, roles: &[Role::Reference], ..Wanted::default() };
        select(wanted, &Catalogue::embedded(), &|path| path.ends_with("mine.toml"))
    }

    fn names(selection: &Selection) -> Vec<&str> {
        selection.scenarios.iter().map(|it| it.script().name.as_str()).collect()
    }

    #[test]
    fn without_a_word_the_references_run_the_core() {
        let selection = selected(&[]).expect("references exist");
        assert!(selection.complete && !selection.targets.is_empty());
        assert!(selection.targets.iter().all(|name| name.starts_with("reference/")));
        assert!(selection.scenarios.iter().all(|it| it.script().core));
    }

    #[test]
    fn without_a_target_those_of_the_roles_run() {
        let words = owned(&["restart/upgrade-under-load"]);
        let wanted = Wanted { words: &words, roles: ALL_BUT_NULL, ..Wanted::default() };
        let selection = select(wanted, &Catalogue::embedded(), &|_| false).expect("there are peers");
        assert!(selection.targets.iter().any(|name| name == "nginx/hup"));
        assert!(!selection.targets.iter().any(|name| name.starts_with("null/")));
    }

    #[test]
    fn a_prefix_selects_every_target_under_it() {
        assert!(selected(&["nginx"]).expect("nginx is there").targets.len() >= 3);
        assert_eq!(selected(&["nginx/hup"]).expect("it is there").targets, ["nginx/hup"]);
    }

    #[test]
    fn a_prefix_ends_at_a_slash() {
        assert!(under("nginx/hup", "nginx") && under("nginx/hup", "nginx/") && under("nginx/hup", "nginx/hup"));
        assert!(!under("nginx/hup", "ngin") && !under("nginx", "nginx/hup"));
    }

    #[test]
    fn a_file_of_ones_own_is_a_target() {
        let selection = selected(&["dir/mine.toml"]).expect("the file exists");
        assert_eq!((selection.files.len(), selection.targets.len()), (1, 0));
        assert!(selected(&["absent.toml"]).is_err());
    }

    #[test]
    fn a_scenario_or_a_check_narrows_what_is_run() {
        let scenario = selected(&["restart/backlog-kept"]).expect("it is there");
        assert_eq!(names(&scenario), ["restart/backlog-kept"]);
        let check = selected(&["handoff/backlog-kept"]).expect("it is there");
        assert_eq!(names(&check), ["restart/backlog-kept"]);
        assert_eq!(check.run, ["handoff/backlog-kept"]);
        assert!(!check.complete);
    }

    #[test]
    fn an_unknown_word_comes_with_a_suggestion() {
        let failure = selected(&["handof"]).expect_err("no such word");
        assert_eq!(failure.to_string(), "there is no target, scenario or check `handof`: did you mean `handoff`?");
        assert_eq!(failure.exit().code(), 2);
    }

    #[test]
    fn a_scenario_that_does_not_judge_the_check_selects_nothing() {
        let failure = selected(&["restart/backlog-kept", "drain/keepalive-race"]).expect_err("nothing is left");
        assert_eq!(failure.exit().code(), 4);
        let (run, skip) = (owned(&["drain"]), owned(&["drain"]));
        let wanted = Wanted { run: &run, skip: &skip, ..Wanted::default() };
        assert_eq!(select(wanted, &Catalogue::embedded(), &|_| false).expect_err("nothing").exit().code(), 4);
    }
}
