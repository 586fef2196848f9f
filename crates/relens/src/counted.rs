//! Numbers in sentences: "1 picture is", "40 pictures are".

use std::fmt::Display;

/// A number and what is counted, of which `one` is the word for one: "1 query", "2 queries".
///
/// ```
/// use relens::counted::counted;
///
/// assert_eq!(counted(1, "picture"), "1 picture");
/// assert_eq!(counted(0, "picture"), "0 pictures");
/// assert_eq!(counted(2u64, "visual entity"), "2 visual entities");
/// assert_eq!(counted(3, "day"), "3 days");
/// ```
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(number: N, one: &str) -> String {
    let several = match one.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{one}s"),
    };
    let word = by_number(&number, one, &several);
    format!("{number} {word}")
}

/// The form that a number asks for, `one` for 1: "1 of 6 pictures is missing", "2 of 6 pictures are missing".
pub fn by_number<'a, N: PartialEq + From<u8>>(number: &N, one: &'a str, several: &'a str) -> &'a str {
    if *number == N::from(1) { one } else { several }
}
