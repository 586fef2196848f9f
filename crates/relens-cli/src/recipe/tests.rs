use std::collections::BTreeMap;
use std::path::Path;

use super::digest::Digests;
use super::file::Recipe;
use super::plan::{Decision, Planner};
use super::state::{Records, StageRecord};

const TWO: &str = r#"
name = "two"
directory = "ROOT/run"
[variables]
data = "ROOT/data"
[[stage]]
name = "last"
command = ["eval", "--annotations", "{directory}/made", "--json", "{directory}/result/x"]
inputs = ["{directory}/made", "{data}/b"]
outputs = ["result"]
[[stage]]
name = "first"
command = ["index", "{data}/a"]
inputs = ["{data}/a"]
outputs = ["made"]
[[stage]]
name = "aside"
command = ["index", "{data}/b", "--config", "{data}/b"]
outputs = ["aside"]
"#;

fn recipe(root: &Path) -> Recipe {
    Recipe::parse(&TWO.replace("ROOT", &root.display().to_string()), &[]).unwrap()
}

fn names(stages: &[&super::file::RecipeStage]) -> Vec<String> {
    stages.iter().map(|stage| stage.name.clone()).collect()
}

#[test]
fn stages_stand_behind_those_that_they_hang_on() {
    let recipe = recipe(Path::new("/r"));
    assert_eq!(names(&recipe.needed_for(None).unwrap()), ["first", "last", "aside"]);
    assert_eq!(names(&recipe.needed_for(Some("last")).unwrap()), ["first", "last"]);
    assert_eq!(names(&recipe.needed_for(Some("aside")).unwrap()), ["aside"]);
    let last = &recipe.stages[1];
    assert_eq!(last.command[2], "/r/run/made");
    assert_eq!(last.upstream.iter().collect::<Vec<_>>(), ["first"]);
    assert_eq!(recipe.stages[2].inputs, [Path::new("/r/data/b")], "what follows --config is an input");
    let error = recipe.needed_for(Some("none")).unwrap_err().to_string();
    assert_eq!(error, "--until none: expected one of the stages first, last, aside");
}

#[test]
fn malformed_recipes_are_refused_by_name() {
    let cases = [
        ("name = \"first\"", "name = \"First!\"", "small letters"),
        ("name = \"first\"", "name = \"last\"", "found it twice"),
        ("outputs = [\"made\"]", "outputs = [\"../made\"]", "inside the recipe's directory"),
        ("outputs = [\"made\"]", "outputs = [\".recipe\"]", "inside the recipe's directory"),
        ("outputs = [\"made\"]", "outputs = []", "at least one file"),
        ("outputs = [\"made\"]", "outputs = [\"result/part\"]", "is an output of"),
        ("inputs = [\"{data}/a\"]", "inputs = [\"{directory}/result\"]", "circle"),
        ("inputs = [\"{data}/a\"]", "inputs = [\"{directory}/made\"]", "its own output"),
        ("\"{data}/a\"]\ninputs", "\"{dato}/a\"]\ninputs", "found `{dato}`"),
        ("\"{data}/a\"]\ninputs", "\"{data/a\"]\ninputs", "expected `}` behind `{`"),
        ("command = [\"index\", \"{data}/a\"]", "command = []", "the arguments of relens"),
        ("[variables]", "[variables]\ndirectory = \"x\"", "variables.directory"),
        ("[variables]", "magic = 1\n[variables]", "magic"),
    ];
    for (from, to, expected) in cases {
        assert!(TWO.contains(from), "{from}");
        let error = format!("{:#}", Recipe::parse(&TWO.replacen(from, to, 1), &[]).unwrap_err());
        assert!(error.contains(expected), "{to}: {error}");
    }
}

#[test]
fn variables_are_overridden_by_name() {
    let set = |name: &str| [(name.to_owned(), "/elsewhere".to_owned())];
    let recipe = Recipe::parse(TWO, &set("data")).unwrap();
    assert_eq!(recipe.stages[0].inputs, [Path::new("/elsewhere/a")]);
    assert_eq!(Recipe::parse(TWO, &set("directory")).unwrap().directory, Path::new("/elsewhere"));
    let error = Recipe::parse(TWO, &set("dato")).unwrap_err().to_string();
    assert_eq!(error, "--set dato: expected one of the variables data, directory");
}

/// A directory in which every stage has run.
struct World {
    root: tempfile::TempDir,
    recipe: Recipe,
}

impl World {
    fn finished() -> Self {
        let root = tempfile::tempdir().unwrap();
        let world = Self { recipe: recipe(root.path()), root };
        for (path, content) in [
            ("data/a", "a"),
            ("data/b", "b"),
            ("run/made", "made"),
            ("run/result/x", "x"),
            ("run/aside", "aside"),
        ] {
            world.write(path, content);
        }
        let records = Records::of(&world.recipe.directory);
        drop(records.lock().unwrap());
        let mut digests = Digests::open(records.digests());
        let mut planner = Planner { records: &records, digests: &mut digests, finished: BTreeMap::new() };
        for stage in &world.recipe.stages {
            let ingredients = planner.examine(stage).unwrap().ingredients;
            planner.finished.insert(stage.name.clone(), ingredients.fingerprint().unwrap());
            let outputs = Some(planner.outputs(stage).unwrap());
            records.write(&stage.name, &StageRecord { ingredients, outputs, seconds: 1.0 }).unwrap();
        }
        world
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.root.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, content).unwrap();
    }

    /// The reasons of first, last and aside; empty for those that are finished.
    fn reasons(&self) -> Vec<String> {
        let records = Records::of(&self.recipe.directory);
        let mut digests = Digests::open(records.digests());
        let mut planner = Planner { records: &records, digests: &mut digests, finished: BTreeMap::new() };
        let stages = self.recipe.needed_for(None).unwrap();
        let decisions = planner.foresee(&stages).unwrap().into_iter();
        let place = format!("{}/", self.root.path().display());
        decisions
            .map(|decision| match decision {
                Decision::Finished => String::new(),
                Decision::Run(reason) => reason.replace(&place, ""),
            })
            .collect()
    }
}

#[test]
fn a_change_reruns_a_stage_and_all_that_hangs_on_it() {
    let world = World::finished();
    assert_eq!(world.reasons(), ["", "", ""]);
    world.write("data/a", "A");
    assert_eq!(world.reasons(), ["`data/a` changed", "it hangs on `first`", ""]);
    world.write("data/a", "a");
    world.write("data/b", "B");
    assert_eq!(world.reasons(), ["", "`data/b` changed", "`data/b` changed"]);
    world.write("data/b", "b");
    assert_eq!(world.reasons(), ["", "", ""], "the same content is no change");
}

#[test]
fn outputs_that_are_missing_or_altered_are_made_again() {
    let world = World::finished();
    world.write("run/result/x", "y");
    assert_eq!(world.reasons()[1], "its output `run/result` is not what it wrote");
    fs_err::remove_dir_all(world.root.path().join("run/result")).unwrap();
    assert_eq!(world.reasons(), ["", "its output `run/result` is missing", ""]);
    let mut changed = World::finished();
    changed.recipe.stages[0].command.push("--quiet".to_owned());
    assert_eq!(changed.reasons(), ["its command changed", "it hangs on `first`", ""]);
}

#[test]
fn a_stage_without_its_end_was_interrupted() {
    let world = World::finished();
    let records = Records::of(&world.recipe.directory);
    let record = records.read("aside").unwrap();
    records.write("aside", &StageRecord { outputs: None, ..record }).unwrap();
    assert_eq!(world.reasons(), ["", "", "it was interrupted"]);
    world.write("run/.recipe/aside.json", "{");
    assert_eq!(world.reasons(), ["", "", "it has not run yet"]);
}

#[test]
fn a_directory_is_held_by_one_run() {
    let world = World::finished();
    let records = Records::of(&world.recipe.directory);
    let held = records.lock().unwrap();
    // A stage's process holds a copy of the file.
    let copy = held.try_clone().unwrap();
    drop(held);
    assert!(records.lock().unwrap_err().to_string().contains("still at work"));
    drop(copy);
    records.lock().unwrap();
}
