//! English nouns back to the form that a dictionary lists.
//!
//! As in WordNet's Morphy: a table of exceptions, then rules that take endings off. The rules propose, the knowledge
//! base disposes: "glasses" proposes "glass", and the word as it stands is always tried first.

/// Irregular plurals, and plurals that the rules would take for something else.
const IRREGULAR: &[(&str, &str)] = &[
    ("alumni", "alumnus"),
    ("analyses", "analysis"),
    ("antennae", "antenna"),
    ("appendices", "appendix"),
    ("axes", "axe"),
    ("bacteria", "bacterium"),
    ("buses", "bus"),
    ("busses", "bus"),
    ("cacti", "cactus"),
    ("calves", "calf"),
    ("cherubim", "cherub"),
    ("children", "child"),
    ("corpora", "corpus"),
    ("crises", "crisis"),
    ("criteria", "criterion"),
    ("curricula", "curriculum"),
    ("dice", "die"),
    ("dominoes", "domino"),
    ("dwarves", "dwarf"),
    ("echoes", "echo"),
    ("elves", "elf"),
    ("feet", "foot"),
    ("foci", "focus"),
    ("formulae", "formula"),
    ("fungi", "fungus"),
    ("geese", "goose"),
    ("genera", "genus"),
    ("graffiti", "graffito"),
    ("halves", "half"),
    ("heroes", "hero"),
    ("hippopotami", "hippopotamus"),
    ("hooves", "hoof"),
    ("indices", "index"),
    ("kidneys", "kidney"),
    ("knives", "knife"),
    ("larvae", "larva"),
    ("leaves", "leaf"),
    ("lice", "louse"),
    ("lives", "life"),
    ("loaves", "loaf"),
    ("mangoes", "mango"),
    ("matrices", "matrix"),
    ("media", "medium"),
    ("mice", "mouse"),
    ("mosquitoes", "mosquito"),
    ("nebulae", "nebula"),
    ("nuclei", "nucleus"),
    ("octopi", "octopus"),
    ("oxen", "ox"),
    ("passersby", "passerby"),
    ("people", "person"),
    ("phenomena", "phenomenon"),
    ("platypi", "platypus"),
    ("potatoes", "potato"),
    ("quizzes", "quiz"),
    ("radii", "radius"),
    ("runners-up", "runner-up"),
    ("scarves", "scarf"),
    ("selves", "self"),
    ("shelves", "shelf"),
    ("snowmen", "snowman"),
    ("stimuli", "stimulus"),
    ("strata", "stratum"),
    ("syllabi", "syllabus"),
    ("teeth", "tooth"),
    ("theses", "thesis"),
    ("thieves", "thief"),
    ("tomatoes", "tomato"),
    ("tornadoes", "tornado"),
    ("torsi", "torso"),
    ("vertebrae", "vertebra"),
    ("volcanoes", "volcano"),
    ("wharves", "wharf"),
    ("wives", "wife"),
    ("wolves", "wolf"),
];

/// Ending of a plural, ending of the singular.
const RULES: &[(&str, &str)] = &[
    ("children", "child"),
    ("people", "person"),
    ("women", "woman"),
    ("men", "man"),
    ("feet", "foot"),
    ("geese", "goose"),
    ("mice", "mouse"),
    ("teeth", "tooth"),
    ("ies", "y"),
    ("ives", "ife"),
    ("ves", "f"),
    ("shes", "sh"),
    ("ches", "ch"),
    ("sses", "ss"),
    ("xes", "x"),
    ("zes", "z"),
    ("oes", "o"),
    ("uses", "us"),
    ("s", ""),
];

/// Words that end like a plural but are none, and too common to be looked up by chance ("does" is no deer).
const NEVER_PLURAL: &[&str] =
    &["as", "does", "goes", "has", "his", "is", "its", "less", "plus", "this", "thus", "us", "was", "yes"];

/// What `word`, in lower case, may be the plural of, the likeliest first. The word itself is not among it.
///
/// ```
/// use relens::english::lemma::singulars;
///
/// assert_eq!(singulars("geese"), ["goose"]);
/// assert_eq!(singulars("policewomen"), ["policewoman"]);
/// assert_eq!(singulars("boxes"), ["box", "boxe"]);
/// assert!(singulars("dog").is_empty());
/// ```
pub fn singulars(word: &str) -> Vec<String> {
    if let Ok(found) = IRREGULAR.binary_search_by(|(plural, _)| (*plural).cmp(word)) {
        return IRREGULAR.get(found).map(|(_, singular)| vec![(*singular).to_owned()]).unwrap_or_default();
    }
    if NEVER_PLURAL.contains(&word) || word.ends_with("ss") && !word.ends_with("sses") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (plural, singular) in RULES {
        let Some(stem) = word.strip_suffix(plural) else { continue };
        // What is left must be a word: "s" is no plural of "", and the "men" of "omen" no plural either.
        if stem.chars().count() + singular.len() >= 2 && !(stem.len() == 1 && *plural == "men") {
            found.push(format!("{stem}{singular}"));
        }
        if !plural.ends_with('s') {
            break;
        }
    }
    found
}

/// The plural of a noun in lower case.
///
/// ```
/// use relens::english::lemma::plural;
///
/// assert_eq!([plural("dog"), plural("box"), plural("city"), plural("mouse")], ["dogs", "boxes", "cities", "mice"]);
/// ```
pub fn plural(word: &str) -> String {
    if let Some((plural, _)) = IRREGULAR.iter().find(|(_, singular)| *singular == word) {
        return (*plural).to_owned();
    }
    if let Some(stem) = word.strip_suffix("man").filter(|stem| !["hu", "ger", "ro"].contains(stem)) {
        return format!("{stem}men");
    }
    if let Some(stem) = word.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'i', 'o', 'u'])) {
        return format!("{stem}ies");
    }
    let hissing = ["s", "x", "z", "ch", "sh"].iter().any(|ending| word.ends_with(ending));
    if hissing { format!("{word}es") } else { format!("{word}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_for_its_binary_search() {
        assert!(IRREGULAR.is_sorted_by(|left, right| left.0 < right.0));
    }

    #[test]
    fn the_singular_is_proposed() {
        for (plural, singular) in [
            ("dogs", "dog"),
            ("puppies", "puppy"),
            ("benches", "bench"),
            ("brushes", "brush"),
            ("dresses", "dress"),
            ("foxes", "fox"),
            ("knives", "knife"),
            ("firemen", "fireman"),
            ("grandchildren", "grandchild"),
            ("shoes", "shoe"),
            ("horses", "horse"),
            ("walruses", "walrus"),
            ("flamingoes", "flamingo"),
            ("dominoes", "domino"),
            ("people", "person"),
        ] {
            assert!(
                singulars(plural).iter().any(|proposed| proposed == singular),
                "{plural}: {:?}",
                singulars(plural)
            );
        }
    }

    #[test]
    fn what_is_no_plural_proposes_nothing() {
        for word in ["does", "grass", "dog", "s", "omen", "is", "glass", ""] {
            assert_eq!(singulars(word), Vec::<String>::new(), "{word}");
        }
    }

    #[test]
    fn a_plural_leads_back_to_its_noun() {
        for noun in ["dog", "box", "city", "boy", "woman", "leaf", "child", "human", "tooth", "bus", "church"]
        {
            assert!(
                singulars(&plural(noun)).iter().any(|proposed| proposed == noun),
                "{noun} → {}",
                plural(noun)
            );
        }
    }
}
