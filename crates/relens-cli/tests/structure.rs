//! How the modules of all crates depend on each other: no circle, and no command that needs another command.
//!
//! The sources are read as text: every path that starts at `crate`, or climbs to the crate with `super`, is an arrow
//! from the top-level module in which it stands to the one that it names. Tests do not count.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A path in the source: the modules that it names, from the crate on, and where it stands.
#[derive(Debug, Clone)]
struct Reference {
    from: Vec<String>,
    to: Vec<String>,
    file: PathBuf,
    line: usize,
    text: String,
}

impl std::fmt::Display for Reference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}: {}", self.file.display(), self.line, self.text)
    }
}

#[test]
fn no_top_level_modules_need_each_other_in_a_circle() {
    let mut faults = Vec::new();
    for (name, source) in crates() {
        let arrows = arrows_between_top_level_modules(&references_of(&source));
        for cycle in cycles(&arrows) {
            let lines =
                cycle.iter().map(|arrow| format!("\n  {} -> {}  {}", arrow.0, arrow.1, arrows[arrow]));
            faults.push(format!("{name}: a circle of modules:{}", lines.collect::<String>()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_command_needs_another_command() {
    let source = crates().remove("relens-cli").expect("the crate of this test");
    let command = |path: &[String]| match path {
        [first, command, ..] if first == "commands" => Some(command.clone()),
        _ => None,
    };
    let faults: Vec<String> = references_of(&source)
        .iter()
        .filter(|reference| match (command(&reference.from), command(&reference.to)) {
            (Some(from), Some(to)) => from != to,
            _ => false,
        })
        .map(Reference::to_string)
        .collect();
    assert!(faults.is_empty(), "a command needs another command:\n  {}", faults.join("\n  "));
}

#[test]
fn the_reader_finds_every_form_of_path() {
    let source = "\
//! crate::comment::left_out
use crate::{a::X, b::{self, y::Z}};
fn f() { super::super::c::g(crate::d::H, \"crate::string\"); } // crate::comment
fn h(x: crate::Error) {}
#[cfg(test)]
mod tests { use crate::e::K; }";
    let from: Vec<String> = ["m", "n"].map(str::to_owned).into();
    let exports = BTreeMap::from([("Error".to_owned(), vec!["error".to_owned(), "Error".to_owned()])]);
    let found = references(source, &from, Path::new("m/n.rs"), &exports);
    let paths: Vec<(String, usize)> =
        found.iter().map(|reference| (reference.to.join("::"), reference.line)).collect();
    let expected = [("a::X", 2), ("b", 2), ("b::y::Z", 2), ("c::g", 3), ("d::H", 3), ("error::Error", 4)];
    assert_eq!(paths, expected.map(|(path, line)| (path.to_owned(), line)));
}

#[test]
fn a_circle_of_three_is_found_and_a_tree_is_none() {
    let arrow = |from: &str, to: &str| {
        let reference = Reference {
            from: vec![from.to_owned()],
            to: vec![to.to_owned()],
            file: PathBuf::from(from),
            line: 1,
            text: String::new(),
        };
        ((from.to_owned(), to.to_owned()), reference)
    };
    let circle = BTreeMap::from([arrow("a", "b"), arrow("b", "c"), arrow("c", "a"), arrow("d", "a")]);
    let found = cycles(&circle);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].len(), 3, "{found:?}");
    assert!(cycles(&BTreeMap::from([arrow("a", "b"), arrow("a", "c"), arrow("b", "c")])).is_empty());
}

/// The source directories of all crates, by the crates' names.
fn crates() -> BTreeMap<String, PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let entries = fs_err::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let found: BTreeMap<String, PathBuf> = entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path().join("src")))
        .filter(|(_, source)| source.is_dir())
        .collect();
    assert!(found.contains_key("relens-cli") && found.contains_key("relens"), "{found:?}");
    found
}

/// The first reference of each top-level module to each other one.
fn arrows_between_top_level_modules(references: &[Reference]) -> BTreeMap<(String, String), Reference> {
    let modules: BTreeSet<&String> =
        references.iter().filter_map(|reference| reference.from.first()).collect();
    let mut arrows = BTreeMap::new();
    for reference in references {
        if let (Some(from), Some(to)) = (reference.from.first(), reference.to.first())
            && from != to
            && modules.contains(to)
        {
            arrows.entry((from.clone(), to.clone())).or_insert_with(|| reference.clone());
        }
    }
    arrows
}

/// For each module in a circle that no circle found before holds, a shortest circle through it.
fn cycles(arrows: &BTreeMap<(String, String), Reference>) -> Vec<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut seen: BTreeSet<&String> = BTreeSet::new();
    for start in arrows.keys().map(|(from, _)| from).collect::<BTreeSet<_>>() {
        if seen.contains(start) {
            continue;
        }
        if let Some(cycle) = shortest_cycle(start, arrows) {
            seen.extend(cycle.iter().map(|(from, _)| from));
            found.push(cycle.into_iter().cloned().collect());
        }
    }
    found
}

fn shortest_cycle<'a>(
    start: &String,
    arrows: &'a BTreeMap<(String, String), Reference>,
) -> Option<Vec<&'a (String, String)>> {
    let mut reached: BTreeSet<&String> = BTreeSet::new();
    let mut paths: Vec<Vec<&(String, String)>> =
        arrows.keys().filter(|(from, _)| from == start).map(|arrow| vec![arrow]).collect();
    while !paths.is_empty() {
        let mut longer = Vec::new();
        for path in paths {
            let end = &path.last()?.1;
            if end == start {
                return Some(path);
            }
            if reached.insert(end) {
                let next = arrows.keys().filter(|(from, _)| from == end);
                longer.extend(next.map(|arrow| [path.as_slice(), &[arrow]].concat()));
            }
        }
        paths = longer;
    }
    None
}

/// All references in the product code of a crate.
fn references_of(source: &Path) -> Vec<Reference> {
    let root = ["lib.rs", "main.rs"].map(|name| source.join(name)).into_iter().find(|path| path.is_file());
    let root = root.unwrap_or_else(|| panic!("{}: no lib.rs and no main.rs", source.display()));
    let exports = exports(&fs_err::read_to_string(&root).unwrap());
    let mut files = Vec::new();
    collect_files(source, &mut files);
    files.sort();
    let mut found = Vec::new();
    for file in files.iter().filter(|file| **file != root) {
        let inner = file.strip_prefix(source).unwrap();
        let mut module: Vec<String> =
            inner.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if module.last().is_some_and(|name| name == "mod") {
            module.pop();
        }
        if !module.iter().any(|name| name == "tests") {
            found.extend(references(&fs_err::read_to_string(file).unwrap(), &module, inner, &exports));
        }
    }
    found
}

fn collect_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// What the crate's root hands on under a shorter name: `pub use error::Error` makes `crate::Error` one of `error`.
fn exports(root: &str) -> BTreeMap<String, Vec<String>> {
    let text = code_only(root);
    let mut found = BTreeMap::new();
    for (start, _) in text.match_indices("pub use ") {
        for path in paths_at(&text[start + "pub use ".len()..]) {
            if let Some(name) = path.last() {
                found.insert(name.clone(), path);
            }
        }
    }
    found
}

/// The references of one file, which is the module `from`.
fn references(
    source: &str,
    from: &[String],
    file: &Path,
    exports: &BTreeMap<String, Vec<String>>,
) -> Vec<Reference> {
    let text = code_only(source);
    let mut found = Vec::new();
    for (start, keyword) in starts_of_paths(&text) {
        let mut base = if keyword == "crate" { Vec::new() } else { from.to_vec() };
        let mut rest = &text[start..];
        while let Some(after) = rest.strip_prefix("super::") {
            base.pop();
            rest = after;
        }
        let rest = rest.strip_prefix("crate::").unwrap_or(rest);
        let line = text[..start].matches('\n').count();
        for path in paths_at(rest) {
            let to = [base.as_slice(), &path].concat();
            let to = to
                .first()
                .filter(|_| base.is_empty())
                .and_then(|name| exports.get(name))
                .cloned()
                .unwrap_or(to);
            found.push(Reference {
                from: from.to_vec(),
                to,
                file: file.to_owned(),
                line: line + 1,
                text: source.lines().nth(line).unwrap_or_default().trim().to_owned(),
            });
        }
    }
    found
}

/// Where a path starts with `crate::` or a chain of `super::`, and with which of both.
fn starts_of_paths(text: &str) -> Vec<(usize, &'static str)> {
    let mut starts = Vec::new();
    for keyword in ["crate", "super"] {
        for (start, _) in text.match_indices(&format!("{keyword}::")) {
            let before = text[..start].chars().next_back();
            if !before.is_some_and(|letter| letter.is_alphanumeric() || "_:".contains(letter)) {
                starts.push((start, keyword));
            }
        }
    }
    starts.sort_unstable();
    starts
}

/// The paths that a use tree at the start of `text` names: `a::{b, c::d}` names `a::b` and `a::c::d`.
fn paths_at(text: &str) -> Vec<Vec<String>> {
    let mut rest = text;
    tree(&mut rest)
}

fn tree(rest: &mut &str) -> Vec<Vec<String>> {
    let mut prefix = Vec::new();
    loop {
        *rest = rest.trim_start();
        if let Some(inside) = rest.strip_prefix('{') {
            *rest = inside;
            let mut all = Vec::new();
            while !rest.trim_start().starts_with('}') && !rest.trim_start().is_empty() {
                let branches = tree(rest);
                all.extend(branches.into_iter().map(|branch| [prefix.as_slice(), &branch].concat()));
                let next = rest.find([',', '}']).unwrap_or(rest.len());
                *rest = rest[next..].strip_prefix(',').unwrap_or(&rest[next..]);
            }
            *rest = rest.trim_start().strip_prefix('}').unwrap_or(rest);
            return all;
        }
        let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if !name.is_empty() && name != "self" {
            prefix.push(name.to_owned());
        }
        match after.strip_prefix("::") {
            Some(after) if !name.is_empty() => *rest = after,
            _ => {
                *rest = after;
                return vec![prefix];
            }
        }
    }
}

/// The source without its tests, and with blanks in place of comments and texts, so that the lines stay.
fn code_only(source: &str) -> String {
    let source = source.split("#[cfg(test)]\nmod ").next().unwrap_or(source);
    let source = source.split("#[cfg(test)]\npub(crate) mod ").next().unwrap_or(source);
    let mut code = String::new();
    let mut quoted = false;
    for line in source.lines() {
        let mut letters = line.char_indices().peekable();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '/' if !quoted && line[at..].starts_with("//") => break,
                '\\' if quoted => drop(letters.next()),
                // A quotation mark as a character, '"' or '\"', opens no text.
                '"' if !quoted && line[at + 1..].starts_with('\'') && line[..at].ends_with(['\'', '\\']) => {}
                '"' => quoted = !quoted,
                _ if quoted => {}
                letter => code.push(letter),
            }
        }
        code.push('\n');
    }
    code
}
